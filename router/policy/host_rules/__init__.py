"""Whether the host's own packet filter and IPsec could see a difference on the direct path.

On the direct path (docs/adr/016-direct-path.md) single packets leave by raw sockets, which pass the
hooks `output` and `postrouting` as any packet of this machine, and GSO frames by packet sockets,
which pass neither. So what these hooks do beyond accepting and refusing would differ from the bare
path. Elsewhere there is no difference: answers arrive as on the bare path, and the egress hook of
netdev, qdiscs and tc filters are passed by raw and packet sockets alike.

    model      rules of a packet filter, as far as they matter here; what is known of a packet
    register   values of which some bits are known
    judgement  from both to the obstacles

Pure. Must not know: netlink, how a system writes its rules.
"""
