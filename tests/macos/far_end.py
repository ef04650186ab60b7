"""A network behind a utun that a VPN program would make, for a Mac that has none:

    sudo python -m tests.macos.far_end utun12

Its hosts are all of 10.99.0.0/16. They answer pings, and questions of DNS with 192.0.2.1; whatever
else comes by UDP is returned as it is. A hop limit of 1 has been used up before them.
"""

from __future__ import annotations

import contextlib
import select
import sys
from ipaddress import IPv4Interface
from struct import pack

from router.platform.darwin.kernel import Xnu
from router.platform.darwin.utun import open_utun
from router.wire import icmp, ip, offload
from router.wire.checksum import checksum, pseudo_header

ADDRESS = IPv4Interface("10.98.0.1/30")
GATEWAY = bytes([10, 98, 0, 2])
NETWORK = "10.99.0.0/16"
DNS = 53
ANSWER = bytes.fromhex("c00c 0001 0001 0000003c 0004 c0000201")
"""A record for the name of the question: type A, class IN, 60 seconds, 192.0.2.1 (RFC 1035)."""
HAS_ANSWERED = 0x8180
"""Flags of an answer: a response, recursion desired and available."""


def answer(packet: bytes) -> bytes | None:
    """What comes back, if anything."""
    try:
        request = ip.parse(packet)
    except ip.Malformed:
        return None
    if request.version != 4:
        return None
    if packet[8] <= 1:
        return icmp.error_of_type(GATEWAY, request, icmp.TIME_EXCEEDED, 0, 0)
    if request.protocol == ip.ICMP and icmp.is_echo_request(request):
        return icmp.echo_reply(request)
    if request.protocol == ip.UDP and len(request.body) >= 8:
        return _datagram(request)
    return None


def _datagram(request: ip.Packet) -> bytes:
    body = bytes(request.body)
    source, destination, payload = body[:2], body[2:4], body[8:]
    if int.from_bytes(destination, "big") == DNS:
        payload = dns_answer(payload)
    length = 8 + len(payload)
    datagram = destination + source + pack("!HH", length, 0) + payload
    addresses = request.destination, request.source
    found = checksum(datagram, pseudo_header(*addresses, length, ip.UDP)) or 0xFFFF
    return ip.build(*addresses, ip.UDP, datagram[:6] + pack("!H", found) + payload)


def dns_answer(query: bytes) -> bytes:
    """To a question about an A record; the query without anything but the question."""
    if len(query) < 12:
        return query
    end = query.find(b"\0", 12) + 5
    header = query[:2] + pack("!HHHHH", HAS_ANSWERED, 1, 1, 0, 0)
    return header + query[12:end] + ANSWER


def main(name: str) -> None:
    """Until it is killed, which removes the utun."""
    utun = open_utun(Xnu(), name, 1400, [ADDRESS])
    print("ready", flush=True)
    while True:
        select.select([utun], [], [])
        with contextlib.suppress(BlockingIOError):
            size = utun.receive()
            found = answer(bytes(utun.frame[offload.HEADER : size]))
            if found is not None:
                utun.write(found)


if __name__ == "__main__":
    main(sys.argv[1])
