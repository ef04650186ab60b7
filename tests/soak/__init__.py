"""A router under mixed load for long: what must not be lost is not, and memory stays as it is.

client.py     traffic of one host, which counts what is answered
far.py        the servers of the far hosts
soak.py       one router, its clients, and what happens to it meanwhile
__main__.py   `make soak`
"""
