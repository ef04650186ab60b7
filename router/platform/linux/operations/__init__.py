"""What the guard carries out for the router on Linux.

Always true: an operation acts by its arguments alone, and evaluates none of them; it changes only
the TUN that it made, routes by that TUN, and of other interfaces what sockets bound to them need.
How to undo a change that outlives the TUN is recorded before the change (`undoer`).

Must not know: rules, flows, packets.
"""
