"""What the router needs of a system, in the router's own terms: Protocols for each purpose, put
together in `system`.

Always true: no Protocol names a system call, a socket option number or a netlink attribute. What
outlives the process is undone by `System.close`, and by another process when the router is killed.

Must not know: rules, flows, packets.
"""
