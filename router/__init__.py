"""tunrouter: rule-based traffic splitting.

The layers, from the top; imports point down only (tests/unit/test_layers.py reads them):

    cli        the commands: arguments and printing
    control    the status socket and its client
    engine     the one event loop, set-up and teardown
    outbound   outbounds behind one Protocol: sockets, relay, buffers
    platform   what differs by system, behind small Protocols
    flows      flow tables and flow logic              pure
    policy     rules -> lookup table -> routes         pure
    config     rules.yaml -> Config; problems
    wire       packets as checked views over bytes     pure
"""

__version__ = "0.2.0"
