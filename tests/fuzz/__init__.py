"""What strangers can send, as bytes: parsers and flow machines that must keep their promises for
any of them.

    targets.py    a function for each parser: bytes in, an assertion error if a promise is broken
    machine.py    the forwarder with all its flow tables, driven by bytes
    corpus/       inputs that are tried every time: one of each kind, and each that once failed
    inputs.py     the corpus, and what hypothesis makes of it
    __main__.py   `make fuzz`: as many inputs as fit into a time
"""
