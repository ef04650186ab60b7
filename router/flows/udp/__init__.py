"""UDP flows: the outside port of each inside endpoint, and which hosts may reply to it.

Theory of operation. A *mapping* stands for one inside (address, port) on one outbound and holds the
outside address and port that everything from there leaves by, whatever its destination:
endpoint-independent mapping (RFC 4787 REQ-1). Where the system sends to some destinations from
another of its addresses, there is one mapping for each of these. A *remote* is a host that a
mapping has sent to, and the permission for that host, from any port of its own, to send back:
address-dependent filtering (REQ-8). A *flow* is one (source, source port, destination, destination
port); the rules are looked up once for each.

Life of a remote, which ends with all its flows; a mapping ends with its last remote:

    what was sent to it            ends
    DNS alone                      DNS_IDLE seconds after a reply, EXCHANGE_IDLE after a query
                                   that has none
    one datagram or several        EXCHANGE_IDLE seconds after it, or after the last reply
    together, to well-known ports
    anything else                  IDLE seconds after the last datagram of either direction
    anything, without an answer,   UNANSWERED_IDLE seconds after the last datagram
    in a crowded table
    the same, of a source with     EXCHANGE_IDLE seconds after it
    many flows

Datagrams of both directions keep a remote alive (REQ-6), ICMP errors neither do that nor end
anything (REQ-12).

Always true: an outside address and port of an outbound belong to one mapping (REQ-3), which keeps
them until it ends, whatever the system prefers meanwhile; there are at most `mapping_limit`
mappings and `flow_limit` flows, of which each source has a share (router.flows.shares), and what
exists is never ended to make room for what is new (REQ-11); every operation on a packet costs the
logarithm of what is held, or less.

`flow` has a mapping and what belongs to it, `table` all of them, `ports` the choice of an outside
port.

Must not know: sockets, rules. Time is an argument, in seconds. Addresses are bytes in network
order, 4 or 16 of them.
"""
