"""Outbounds, behind the protocol of `base`.

    interface          a network interface: dial, udp and icmp are its sockets
    all                the outbounds of a configuration, by policy
    direct             packets that leave unchanged, by the interface that has their source
    relay, buffers     two TCP sockets as one connection
    descriptors        the budget of file descriptors

An outbound carries packets; which packet it gets is decided by the engine.
"""
