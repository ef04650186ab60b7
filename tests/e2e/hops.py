"""The hops of a path: the answers that arrive while traceroute or mtr traces it.

The program sends the probes. What it prints is not judged, because traceroute may miss answers that
have arrived: while poll() returns POLLERR it reads the error queue of its socket (IP_RECVERR) and
nothing else. Linux first puts an ICMP error into that queue and then sets the socket's error
(raw_err in net/ipv4/raw.c, rawv6_err in net/ipv6/raw.c); if traceroute, on another processor, takes
the error out in between, POLLERR stays on an empty queue, and no answer is read any more. That
happens with and without a router, in about one trace of a thousand.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from tests.e2e.capture import Capture, Raw
from tests.e2e.netns import Namespace
from tests.e2e.wait import wait_until

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
ECHO_REQUEST: Final = {ICMP: 8, ICMPV6: 128}
ECHO_REPLY: Final = {ICMP: 0, ICMPV6: 129}
TIME_EXCEEDED: Final = {ICMP: 11, ICMPV6: 3}
UNREACHABLE: Final = {ICMP: 3, ICMPV6: 1}
IPV6_HEADER: Final = 40
ICMP_HEADER: Final = 8
TCP_FLAGS_AT: Final = 13
SYN, ACK = 0x02, 0x10
ANSWERED: Final = -1


class Hop(NamedTuple):
    """The source of the answer to a probe. `is_router`: the answer was "time exceeded". `code` is
    that of the ICMP error, and ANSWERED where the answer was none."""

    address: str
    is_router: bool
    code: int


class Packet(NamedTuple):
    """An IPv4 or IPv6 packet without extension headers."""

    source: bytes
    destination: bytes
    hop_limit: int
    protocol: int
    payload: bytes


class Probe(NamedTuple):
    """What a probe and its answer have in common. `identity` is the identifier and the sequence
    number of an echo request, or the two ports as the probe has them."""

    destination: bytes
    protocol: int
    identity: bytes


def hops(namespace: Namespace, address: str, *command: str, answers_by: str = "") -> list[Hop]:
    """Traces the path to `address`, which is added to `command`.

    answers_by: the interface by which answers come in, if another than that of the probes.

    Returns the hops in their order, the destination last, as soon as every probe of all of them has
    been answered. Raises StillWaitingError.
    """
    [route] = json.loads(namespace.run("ip", "-j", "route", "get", address).stdout)
    with Capture(namespace, f"icmp or icmp6 or host {address}", raw=True) as capture:
        program = namespace.start(*command, address)
        try:
            return wait_until(
                lambda: answered(
                    [
                        raw
                        for raw in capture.raw_packets()
                        if raw.interface == route["dev"]
                        or (raw.direction == "In" and raw.interface == answers_by)
                    ]
                ),
                f"every hop to {address} to answer",
                detail=program.report,
            )
        finally:
            program.close()


def answered(packets: Iterable[Raw]) -> list[Hop]:
    """The hops of which the packets hold every answer; empty if one is missing."""
    sent: dict[Probe, int] = {}
    answers: dict[Probe, Hop] = {}
    for raw in packets:
        if not _is_whole(raw.data):
            continue
        packet = _parse(raw.data)
        if raw.direction == "Out" and (probe := _probe(packet)):
            sent[probe] = packet.hop_limit
        elif raw.direction == "In" and (answer := _answer(packet)):
            answers[answer[0]] = answer[1]
    reached = [sent[probe] for probe in sent.keys() & answers if not answers[probe].is_router]
    path = []
    for hop_limit in range(1, min(reached, default=0) + 1):
        of_hop = {answers.get(probe) for probe in sent if sent[probe] == hop_limit}
        if not of_hop or None in of_hop:
            return []
        [hop] = of_hop
        path.append(hop)
    return [hop for hop in path if hop]


def _is_whole(data: bytes) -> bool:
    """Whether all of a packet has been written down."""
    if len(data) < IPV6_HEADER:
        return False  # shorter than any answer, and than any probe
    at, header = (2, 0) if data[0] >> 4 == 4 else (4, IPV6_HEADER)
    return len(data) >= header + int.from_bytes(data[at : at + 2], "big")


def _parse(data: bytes) -> Packet:
    if data[0] >> 4 == 4:
        header = (data[0] & 0x0F) * 4
        return Packet(data[12:16], data[16:20], data[8], data[9], data[header:])
    return Packet(data[8:24], data[24:40], data[7], data[6], data[IPV6_HEADER:])


def _probe(packet: Packet) -> Probe | None:
    protocol, payload = packet.protocol, packet.payload
    is_probe = (
        protocol == UDP
        or (protocol == TCP and payload[TCP_FLAGS_AT] & (SYN | ACK) == SYN)
        or (protocol in ECHO_REQUEST and payload[0] == ECHO_REQUEST[protocol])
    )
    return _identified(packet) if is_probe else None


def _identified(packet: Packet) -> Probe:
    at = 4 if packet.protocol in ECHO_REQUEST else 0
    return Probe(packet.destination, packet.protocol, packet.payload[at : at + 4])


def _answer(packet: Packet) -> tuple[Probe, Hop] | None:
    """An answer, and the probe that it is to."""
    protocol, payload = packet.protocol, packet.payload
    source = str(ipaddress.ip_address(packet.source))
    reached = Hop(source, is_router=False, code=ANSWERED)
    if protocol == TCP:
        return Probe(packet.source, protocol, payload[2:4] + payload[:2]), reached
    if protocol not in ECHO_REPLY:
        return None
    kind, code = payload[:2]
    if kind == ECHO_REPLY[protocol]:
        return Probe(packet.source, protocol, payload[4:8]), reached
    if kind not in (TIME_EXCEEDED[protocol], UNREACHABLE[protocol]):
        return None
    quoted = _parse(payload[ICMP_HEADER:])
    return _identified(quoted), Hop(source, kind == TIME_EXCEEDED[protocol], code)
