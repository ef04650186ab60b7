"""The running router: one event loop, and what happens to each packet.

Theory of operation. `loop` polls descriptors and runs timers and signals; it knows no packets.
`router` is one run: `assembly` opens its parts (TUN, outbounds, carriers), `router` waits and
stops. `reading` takes frames from query channels and from the TUN's two queues: this machine's
packets, and those it forwards for others. `forwarder` is the hot path: a packet from the TUN either
belongs to a flow, or the rules are evaluated once (`applied_rules`) and a flow begins
(`new_flows`), or it is answered or dropped under one reason of `flows.drops`. An answer that an
outbound receives finds its flow by what the flow has sent, and is written into the TUN as its
sender would see it.

    icmp/               queries, and the ICMP errors about flows
    udp/                datagrams: outbound (from the TUN), inbound (from the sockets)
    tcp/                dial first, then relay: dial, connections, segments, both keepalives
    carriers            all three; table_carrier: how their flows expire, are re-evaluated and lost
    direct/             packets of this machine's programs that leave as they came, before all else
    admissions          how many packets of one source begin flows at once; the others wait
    transit             answers of hosts behind this machine, which no flow is about
    refusals            errors, resets and echo replies that the router sends itself
    tun_writer          the only way into the TUN
    routes/             the routes and addresses as they should be, with back-off
    relayed_flows       reports of the flows that carriers have; direct/connections: of the others
    interface_events    interfaces, addresses or routes of the system have changed
    reload/             other rules: request, reread (a process of its own), reevaluate, outcome
    errnos              what an errno means for a sender
    observer/           what a trace sees of each packet; nothing is called without one
    events, summary, watchdog, policy_log, flow_log    what followers, supervisor and people read

Where to look. A ping: reading.TunReader, forwarder._forward (the first one: _begin),
icmp/queries, back by assembly.Channels. A reload: reload/request.
A VPN that is lost: interface_events, outbound/all.refresh, carriers.forget, routes/installed.
"""
