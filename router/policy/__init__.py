"""What the rules decide about an address: lookup, the routes to install, explanations and findings.

Pure: no sockets, clocks, logs or files. The modules, from the bottom:

    prefixes      ranges and prefixes as integers; their text
    network       interfaces, routes and endpoints of the system at one moment
    interfaces    which interface each policy has at present
    resolve       which policy applies while one is down
    match/        which rule decides for a flow, and which rules decide nothing
    routes/       which routes lead into the TUN, and which route the kernel would take
    list_algebra  list files as sets of addresses: joined, subtracted
    explain       why an address gets the rule it gets
    findings/     what `check` finds in rules and network
    answer        what becomes of a packet to one address
"""
