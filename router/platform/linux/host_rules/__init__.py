"""The host's packet filter and IPsec policies, as router.policy.host_rules judges them.

    nftables     tables, chains, rules and verdict maps of nf_tables (NETLINK_NETFILTER)
    egress       base chains of the hook egress of the family netdev
    expressions  an nf_tables expression as steps of a rule
    extensions   matches and targets of iptables by their names
    iptables     tables of the old ip_tables, which nf_tables does not list
    ipsec        outbound policies (NETLINK_XFRM)
    read         all of them, judged
    watch        sockets that report changes

Only root may read them, so the guard does. Hooks without rules are not read: IPVS, and BPF programs
that are attached to a hook of netfilter.
"""
