"""The outcome when an application connects by TCP or sends by UDP.

The result is the name of the error that it gets (ECONNREFUSED, EHOSTUNREACH, ...), or "connected",
"answered", or "silence" when nothing came within the patience: a second where silence is expected.
"""

from __future__ import annotations

import sys

from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.wait import BOUND_S

ECHO_PORT = 7
BRIEF_S = 1

CLIENT = """
import errno, socket, sys
kind, address, port, patience = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
stream = kind == "tcp"
with socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as s:
    s.settimeout(float(patience))
    try:
        s.connect((address, int(port)))
        if stream:
            outcome = s.connect_ex((address, int(port)))  # see tests.e2e.sockets.connect
            if outcome not in (0, errno.EISCONN):
                raise OSError(outcome, "")
        else:
            s.send(b"probe")
            s.recv(100)
        print("connected" if stream else "answered")
    except TimeoutError:
        print("silence")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""

# Every answer of UDP leaves from the destination of its request, which IPV6_PKTINFO gives.
SERVER = """
import select, socket, sys
port = int(sys.argv[1])
IPV6_FREEBIND = 78  # linux/in6.h; the far hosts' addresses stand in a route, not on an interface
tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
udp.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
udp.bind(("::", port))
print("listening", flush=True)
while True:
    for ready in select.select([tcp, udp], [], [])[0]:
        if ready is tcp:
            tcp.accept()[0].close()
        else:
            data, [(_, _, info)], _, peer = udp.recvmsg(2000, 100)
            control = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info[:16] + bytes(4))
            udp.sendmsg([data], [control], 0, peer)
"""


def tcp(
    namespace: Namespace, address: str, port: int = ECHO_PORT, *, patience: float = BOUND_S
) -> str:
    return _probe(namespace, "tcp", address, port, patience)


def udp(
    namespace: Namespace, address: str, port: int = ECHO_PORT, *, patience: float = BOUND_S
) -> str:
    return _probe(namespace, "udp", address, port, patience)


def start_server(namespace: Namespace, port: int = ECHO_PORT) -> Process:
    """A server that accepts TCP and echoes UDP at every address; the caller closes it."""
    server = namespace.start(sys.executable, "-c", SERVER, str(port))
    server.wait_for_output("listening")
    return server


def _probe(namespace: Namespace, kind: str, address: str, port: int, patience: float) -> str:
    arguments = (kind, address, str(port), str(patience))
    return namespace.run(sys.executable, "-c", CLIENT, *arguments).stdout.strip()


TIMESTAMP = """
import os, socket, struct, sys
address, patience = sys.argv[1:]
body = struct.pack("!BBHHH12x", 13, 0, 0, os.getpid() & 0xFFFF, 1)
total = sum(struct.unpack("!10H", body))
while total >> 16:
    total = (total & 0xFFFF) + (total >> 16)
body = body[:2] + struct.pack("!H", total ^ 0xFFFF) + body[4:]
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as s:
    s.settimeout(float(patience))
    s.sendto(body, (address, 0))
    try:
        while True:
            packet, (sender, _) = s.recvfrom(2000)
            if sender == address and packet[20] == 14 and packet[24:28] == body[4:8]:
                print("answered")
                break
    except TimeoutError:
        print("silence")
"""


def icmp_timestamp(namespace: Namespace, address: str) -> str:
    """Sends an ICMP timestamp request and waits for the reply that has its identifier."""
    done = namespace.run(sys.executable, "-c", TIMESTAMP, address, "10")
    return done.stdout.strip()


PATH_MTU = """
import errno, socket, sys
IP_MTU_DISCOVER, IP_MTU, IPV6_MTU_DISCOVER, IPV6_MTU, DO = 10, 14, 23, 24, 2  # linux/in.h, in6.h
address, size = sys.argv[1], int(sys.argv[2])
six = ":" in address
level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(level, IPV6_MTU_DISCOVER if six else IP_MTU_DISCOVER, DO)
    s.connect((address, 9))
    if size:
        try:
            s.send(bytes(size))
        except OSError as error:
            print(errno.errorcode[error.errno], end=" ")
    print(s.getsockopt(level, IPV6_MTU if six else IP_MTU))
"""


def path_mtu(namespace: Namespace, address: str) -> int:
    """The MTU of the path to an address, as far as the kernel knows it."""
    return int(namespace.run(sys.executable, "-c", PATH_MTU, address, "0").stdout)


def too_long(namespace: Namespace, address: str, size: int) -> str:
    """Sends a datagram of `size` bytes that may not be fragmented. The error and the path's MTU."""
    return namespace.run(sys.executable, "-c", PATH_MTU, address, str(size)).stdout.strip()
