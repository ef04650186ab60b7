"""The running router, asked and told from outside.

server        the socket's server, in the engine's loop: begin with its header
conversation  one client of it
commands      which commands a running router knows
status        the answer to `status`
asking        the other end: what the command line asks with
"""
