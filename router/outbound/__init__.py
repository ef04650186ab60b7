"""Outbounds, behind the protocol of `base`.

    interface          a network interface: dial, udp and icmp are its sockets
    all                the outbounds of a configuration, by policy
    local_replies      what leaves unchanged, as no rule is about it
    relay, buffers     two TCP sockets as one connection
    descriptors        the budget of file descriptors

An outbound carries packets; which packet it gets is decided by the engine.
"""
