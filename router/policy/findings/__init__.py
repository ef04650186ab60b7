"""Problems of valid rules: with each other, and with this network.

    shadowing   rules that never match or change nothing; the same network in several places
    special     addresses whose packets never reach a TUN
    tun         the TUN's own address and name
    outbounds   interfaces that are missing, down, or lack an address or a route
    proxies     proxies that cannot be reached; what becomes of ICMP
    loops       captured endpoints of VPNs, default gateways and DNS servers
    account     the user that the router runs as
    web         what the web process needs
    system      conflicts between the system's routes and the planned ones
    host_rules  the host's packet filter, where it drops answers or makes packets be relayed

Always true: every problem is a warning, apart from what can't work (`tun`, `account`); a problem
with the system's routes is reported once for each interface.
"""
