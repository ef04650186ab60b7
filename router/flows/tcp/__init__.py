"""TCP flows: an application's connection, and the connection to a listener of ours that it becomes.

Theory of operation. An application's segments are found by the key of the flow: its address and
port, and those of its destination. Once the outbound has connected, the flow gets an *alias*: the
address and port that our own kernel has the connection from, and one of our listeners, which it is
to. A flow then has two rewrites: a segment of the application becomes one from the alias to the
listener, and a segment of the kernel to the alias becomes one from the application's destination.

What may be done in a state:

    DIALLING    the outbound is connecting. The request is kept; retransmissions of it only show
                that the application still waits. Nothing is sent to it but a refusal.
    OPENING     connected; the request went to the listener. Both rewrites work. Only a flow in
                this state may be accepted, once, by its alias. Our kernel answers at once, unless
                this machine's firewall keeps the request from it.
    RELAYED     accepted. The sockets decide when it ends; segments of any kind only pass. Only when
                our kernel has ended the inner one and the application sends a new request is the
                flow ended before its sockets; its relay finishes by itself.
    LINGERING   our sockets are closed, the kernel may still be sending what they left. Both
                rewrites work until a reset, or for as long as TIME_WAIT lasts after both FINs, or
                until nothing has passed for TRANSITORY seconds. It makes room for any new flow.

Always true: at most `limit` flows are in the first three states and at most `limit` linger; of
those and of the HALF_OPEN that are DIALLING or OPENING each source has a share
(router.flows.shares); an alias belongs to one flow, and the one that is assigned is the one that
was used the longest time ago; every operation on a packet costs the logarithm of what is held, or
less; an established flow is never ended for being idle less than ESTABLISHED seconds
(RFC 5382 REQ-5), and after that only to make room. The table holds the flows that do not linger:
those that linger are neither counted, listed nor re-evaluated.

`flow` has the states and their ends, `table` all flows.

Must not know: packets as a whole, sockets, rules. Time is an argument, in seconds.
"""
