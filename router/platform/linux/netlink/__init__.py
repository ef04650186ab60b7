"""rtnetlink(7) without a library.

pyroute2 does WireGuard's generic netlink, and is imported only where a WireGuard link of the kernel
is read (docs/adr/021-netlink.md).
"""
