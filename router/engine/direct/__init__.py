"""The direct path: packets of this machine's programs that need no translation.

Theory of operation. The routes into the TUN carry as source the address that their outbound would
use, so programs send from that address by themselves. Such a packet leaves unchanged but for its
hop limit, by a raw socket of the outbound's interface; the answer arrives by that interface and
never passes the router. There are no flows: `decisions` decides about a packet, and `path` keeps
what was decided by source and destination. What the system has yet to cut is sent by `uncut`.
What moves much is `forwarded` by the system itself (docs/adr/035-forwarding.md).
`connections` reports those that the system knows.
docs/adr/016-direct-path.md has the reasons.
"""
