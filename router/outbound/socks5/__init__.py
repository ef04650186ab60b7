"""A SOCKS5 proxy as an outbound: the policies of type `socks5`.

outbound        what the engine sees
probing         whether a proxy is up
found           what a proxy was found not to do
early           proxies that say that they have connected before they know
tools           what all proxies of a router use
way             how the proxy itself is reached: another outbound, or the system's own routes
addresses       those of the proxy; its name is resolved beside the loop
conversation    a dialogue with the proxy on a connection that is being opened
ready           connections past the login, for requests to come
dial            a TCP connection by CONNECT
datagrams       UDP by UDP ASSOCIATE
association     the connection that a proxy carries it as long as
failures        what a proxy's answers mean for an application
"""
