"""Ways out: sockets that are bound to an interface, and what is known of the interface.

A way out carries; it decides nothing. Which packet it is given is the engine's affair.
"""
