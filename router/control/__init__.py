"""The control socket of the running router.

server        serves the socket beside the packets
connection    one client: its request, and the answer to it
protocol      the versions of requests and answers
follow        lines without end, for clients that follow
commands      the commands that a running router answers
status        the answer to `status`
flows         the answer to `flows`
explain       the answer to `explain`, from a program that reads the rules
web/          the web process: a page, JSON and metrics
client        the command line's end
"""
