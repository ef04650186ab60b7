"""A load of echo requests: a fixed number in flight, or one at a time with pauses.

Run as a process of its own:  python -m bench.ping_flood 198.51.100.1 --window 128 --seconds 2
It prints one JSON object: requests sent, replies, lost, replies a second, and the round trips'
50th, 90th and 99th percentile in microseconds.

Always true: bounded in time and in count; every reply counts once, and only a reply to a request
of this run. A request without an answer for LOST_AFTER_S counts as lost and makes room for
another, so that a router that drops is slowed down and not waited for.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
import time
from dataclasses import asdict, dataclass

PAYLOAD = bytes(range(56))
LOST_AFTER_S = 1.0
LOOK_FOR_LOST_S = LOST_AFTER_S / 4
SEQUENCES = 1 << 16
BUFFER_BYTES = 4 << 20

SOL_RAW, ICMP_FILTER = 255, 1  # linux/icmp.h: a set bit blocks the type
ICMPV6_FILTER = 1  # linux/icmpv6.h: likewise
IDENT_SEQUENCE = struct.Struct("!HH")
ECHO_REPLY, ECHO_REQUEST = 0, 8
ECHO_REPLY_V6, ECHO_REQUEST_V6 = 129, 128


@dataclass(frozen=True)
class Result:
    """`rate` is in replies a second, the percentiles are in microseconds."""

    sent: int
    replies: int
    lost: int
    rate: float
    p50: float
    p90: float
    p99: float


class Echo:
    """A raw ICMP socket connected to one host; requests are numbered from 0."""

    def __init__(self, address: str) -> None:
        self._v6 = ":" in address
        self._ident = os.getpid() & 0xFFFF
        if self._v6:
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            passing = bytearray(b"\xff" * 32)
            passing[ECHO_REPLY_V6 >> 3] &= ~(1 << (ECHO_REPLY_V6 & 7)) & 0xFF
            self.socket.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, bytes(passing))
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            blocked = ~(1 << ECHO_REPLY) & 0xFFFFFFFF
            self.socket.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", blocked))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self.socket.connect((address, 0))
        self._header_bytes = 0 if self._v6 else 20
        self._requests = [self._request(sequence) for sequence in range(SEQUENCES)]

    def send(self, number: int) -> None:
        try:
            self.socket.send(self._requests[number % SEQUENCES])
        except OSError:
            # What the way there can't take (ENOBUFS), or an error of an earlier request: the
            # request has no answer and is counted as lost.
            return

    def receive(self) -> int | None:
        """The sequence number of a reply of ours; None if there was none (in time), or an error."""
        try:
            reply = self.socket.recv(2048)
        except OSError:
            return None
        start = self._header_bytes
        ident, sequence = IDENT_SEQUENCE.unpack_from(reply, start + 4)
        ours: bool = ident == self._ident and reply[start + 8 :] == PAYLOAD
        return int(sequence) if ours else None

    def _request(self, sequence: int) -> bytes:
        if self._v6:  # the kernel fills the checksum in
            return struct.pack("!BBHHH", ECHO_REQUEST_V6, 0, 0, self._ident, sequence) + PAYLOAD
        blank = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, self._ident, sequence) + PAYLOAD
        return blank[:2] + struct.pack("!H", _checksum(blank)) + blank[4:]


def flood(address: str, window: int, seconds: float, count: int) -> Result:
    """Keeps `window` requests in flight for `seconds`, at most `count` in all."""
    echo = Echo(address)
    echo.socket.settimeout(LOOK_FOR_LOST_S)
    clock = time.perf_counter
    in_flight: dict[int, float] = {}
    trips: list[float] = []
    sent = lost = 0
    now = start = clock()
    end = start + seconds
    next_look = start + LOOK_FOR_LOST_S
    while now < end and len(trips) + lost < count:
        while len(in_flight) < window and sent < count:
            in_flight[sent % SEQUENCES] = clock()
            echo.send(sent)
            sent += 1
        sequence = echo.receive()
        now = clock()
        if sequence is not None and (since := in_flight.pop(sequence, None)) is not None:
            trips.append(now - since)
        if now > next_look:
            lost += _give_up_overdue(in_flight, now)
            next_look = now + LOOK_FOR_LOST_S
    return _result(sent, trips, lost, now - start)


def _give_up_overdue(in_flight: dict[int, float], now: float) -> int:
    """Forgets the requests that are overdue and returns how many they were."""
    late = [sequence for sequence, since in in_flight.items() if now - since > LOST_AFTER_S]
    for sequence in late:
        del in_flight[sequence]
    return len(late)


def paced(address: str, pause_s: float, count: int) -> Result:
    """`count` requests one by one, each after a pause: the round trip of a router at rest."""
    echo = Echo(address)
    echo.socket.settimeout(LOST_AFTER_S)
    trips: list[float] = []
    lost = 0
    start = time.perf_counter()
    for number in range(count):
        time.sleep(pause_s)
        since = time.perf_counter()
        echo.send(number)
        while (sequence := echo.receive()) != number % SEQUENCES:
            if time.perf_counter() - since > LOST_AFTER_S:
                break
        if sequence is None:
            lost += 1
        else:
            trips.append(time.perf_counter() - since)
    return _result(count, trips, lost, time.perf_counter() - start)


def _result(sent: int, trips: list[float], lost: int, elapsed_s: float) -> Result:
    ordered = sorted(trips) or [float("nan")]
    p50, p90, p99 = (
        1e6 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]
        for share in (0.5, 0.9, 0.99)
    )
    return Result(sent, len(trips), lost, len(trips) / elapsed_s, p50, p90, p99)


def _checksum(data: bytes) -> int:
    """RFC 1071, for data of even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def main() -> None:
    parser = argparse.ArgumentParser(description="A load of echo requests, measured.")
    parser.add_argument("address")
    parser.add_argument("--window", type=int, default=1, help="requests in flight")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--count", type=int, default=1_000_000, help="requests at most")
    parser.add_argument("--pause", type=float, help="seconds before each request, one in flight")
    options = parser.parse_args()
    if options.pause is None:
        result = flood(options.address, options.window, options.seconds, options.count)
    else:
        result = paced(options.address, options.pause, options.count)
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
