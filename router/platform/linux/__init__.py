"""Linux: /dev/net/tun, rtnetlink, SO_BINDTODEVICE.

What needs no privileges is done in the router's own process. The rest is requested from the guard
(`client`), which carries it out (`operations`); the `undoer` records every change that outlives the
TUN in the `journal` before the guard makes it. router.platform.privileged describes the processes.
"""
