"""What the guard carries out for the router on macOS.

Always true: an operation acts by its arguments alone, and evaluates none of them; it changes only
the utun that it made, routes by that utun, and scoped default routes of tunnels. How to undo a
change that outlives the utun is recorded before the change (`undoer`).

Must not know: rules, flows, packets.
"""
