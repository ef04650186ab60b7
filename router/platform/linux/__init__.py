"""Linux: /dev/net/tun, rtnetlink, SO_BINDTODEVICE.

What needs no privileges is done in the router's own process (`system`). The rest is asked of the
`guard` by way of `guarded`, carried out by `operations`, and written down beforehand by the
`undoer` in the `journal`; the header of `guard` tells how they hang together.
"""
