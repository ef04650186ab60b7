"""The running router: one event loop, what it waits for, and what becomes of each packet.

Theory of operation. `loop` waits for descriptors, timers and signals and knows nothing of packets.
`router` puts a run together (TUN, ways out, routes) and takes it apart again. `forwarder` is the
hot path: a packet from the TUN either belongs to a flow, or the rules are asked once and a flow
begins, or it is answered or dropped, under one of the reasons of `flows.drops`. An answer from a
way out finds its flow by what the flow sends, and goes into the TUN as its sender would see it.
Flows are carried by `queries` (ICMP), `datagrams` (UDP, with `departures` and `arrivals`) and
`streams` (TCP, with `dialling`); `errors` finds out which of them an ICMP error
is about; what the router says itself is in `refusals`, the way into the TUN
is `inside`, and `installed` keeps the routes as they should be (with `restraint`, where another
program wants them otherwise).

Other rules come by `reload`: `rereading`, a program of its own, makes `compiled` of the file, which
comes in by `pieces`; `renewal` judges which flows live on, `outcome` is what people are told, and
`announcing` what the log says of policies.
"""
