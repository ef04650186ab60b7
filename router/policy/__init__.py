"""What the rules say about an address: lookup, the routes to install, and what to tell people.

Pure: no sockets, clocks, logs or files. The modules, from the bottom:

    prefixes   ranges and prefixes as integers; their text
    traffic    protocols and ports: what a rule asks of a flow, and whether one rule covers another
    flatten    rules -> disjoint ranges, each with its chain of rules
    table      ranges -> lookup of one address; the decision for a flow
    aggregate  ranges with a label each -> the fewest routes
    capture    which addresses enter the TUN, and by which routes
    resolve    which policy applies when one is down
    deciders   who decides what in every range, and which rules could go
    shadows    rules that can never match, or that change nothing
    list_algebra   list files joined and subtracted, by netaddr
    explain    why an address gets the rule it gets
"""
