"""The control socket of the running router.

server        serves the socket beside the packets
connection    one client: its request, and the answer to it
commands      the commands that a running router answers
status        the answer to `status`
client        the command line's end
"""
