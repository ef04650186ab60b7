"""rtnetlink(7) without a library: what is read at every start, and routes by the thousand.

pyroute2 does the rest of what is done once a run, and WireGuard's generic netlink.
"""
