"""The web process: a page, JSON and metrics about the running router, for browsers and Prometheus.

Theory of operation. Two processes, so that the one which strangers may send to has no rights. The
connector, with nothing but the right to connect to the control socket, passes to the other one
connections on which a request is sent already, of those commands that change nothing. The server,
as an account without privileges and, where the system can take that, without the right to connect
or to open a socket, answers GET requests by what it reads from them.

    __main__      the program that the guard starts
    launch        the two processes; installed: whether they can be started
    connector     the connector and, in the server, its client
    server        the HTTP server: connections, deadlines
    access        which requests are refused: method, host, origin, token
    app           paths and what they answer; query: what a request asks for
    files         the page, in the folder `page`
    answers       the latest answers of the router, shared by those who want them at a time
    event_log, history, metrics    events, throughput of the last hour, the metrics of Prometheus
    child         in the router: starts it and starts it again

Always true: nothing is changed by any request; what is kept in memory has a bound.
"""
