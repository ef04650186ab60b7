"""What a namespace saw on its interfaces, by tcpdump.

Always true: after settle(), every packet that had passed before the call is among the lines, so
that a test can conclude that nothing was seen without waiting for a time; and a capture that has
lost a packet fails when it is closed, so that a packet that it has not seen has not passed.
"""

from __future__ import annotations

import itertools
import re
import signal
from types import TracebackType
from typing import NamedTuple

from tests.e2e.netns import Namespace

# 12:00:00.000000 home0 In  IP6 fd00::1 > fd00::2: ICMP6, echo request, id 1, seq 1, length 64
LINE = re.compile(
    r"^\S+ +(?P<interface>\S+) +(?P<direction>\S+) +IP6? "
    r"(?P<source>\S+) > (?P<destination>\S+): (?P<text>.*)$"
)
HEX = re.compile(r"^\t0x[0-9a-f]+: +([0-9a-f ]+)$")
ICMP = "icmp or (icmp6 and not (ip6[40] >= 130 and ip6[40] <= 143))"
"""Pings and errors, without IPv6's neighbour discovery, which the systems send by themselves."""

LOST = re.compile(r"^(\d+) packets? dropped by kernel$", re.MULTILINE)

LENGTH = "1024"
"""Bytes of a packet that are kept. The buffer has a place of that size for each packet that waits:
with the usual 262144 bytes those are sixteen, and a busy machine loses the next."""
BUFFER_KIB = "16384"

_markers = itertools.count(1)


class Seen(NamedTuple):
    """One packet. `direction` is In or Out; addresses of TCP and UDP end in .port."""

    interface: str
    direction: str
    source: str
    destination: str
    text: str


class Raw(NamedTuple):
    """The bytes of one packet, from its IP header on."""

    interface: str
    direction: str
    data: bytes


class Capture:
    """`with Capture(namespace, "tcp or udp") as capture:` captures on all interfaces.

    raw: keep the bytes of the packets too, for raw_packets().
    """

    def __init__(self, namespace: Namespace, expression: str = ICMP, *, raw: bool = False) -> None:
        self._namespace = namespace
        self._marker_net = "127.77.0.0/16"
        self._process = namespace.start(
            *("tcpdump", "-n", "-l", "--immediate-mode", "-i", "any"),
            *("-B", BUFFER_KIB, "-s", LENGTH, *(["-x"] if raw else [])),
            f"({expression}) or (icmp and dst net {self._marker_net})",
        )

    def __enter__(self) -> Capture:
        self._process.wait_for_output("listening on")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._process.stop(signal.SIGINT)
                [lost] = LOST.findall(self._process.stderr)
                assert lost == "0", self._process.stderr
        finally:
            self._process.close()

    def settle(self) -> None:
        """Waits until everything that has passed so far has been written down.

        A marker is sent over the loopback interface: what came before it stands before it.
        """
        number = next(_markers)
        marker = f"127.77.{number >> 8 & 255}.{number & 255}"
        self._namespace.run("ping", "-c1", "-W", "5", marker)
        self._process.wait_for_output(f"> {marker}: ICMP echo request")

    @property
    def output(self) -> str:
        """What has been written down so far, also of packets that tcpdump cannot read."""
        return self._process.stdout

    def packets(self) -> list[Seen]:
        """The packets so far, after settling, without the markers."""
        self.settle()
        matches = map(LINE.match, self._process.stdout.splitlines())
        seen = [Seen(*match.groups()) for match in matches if match]
        return [packet for packet in seen if not _is_marker(packet)]

    def raw_packets(self) -> list[Raw]:
        """The packets that have been written down so far, the last one perhaps in part."""
        found: list[Raw] = []
        whole_lines, _, _ = self._process.stdout.rpartition("\n")
        for line in whole_lines.splitlines():
            if match := LINE.match(line):
                found.append(Raw(match["interface"], match["direction"], b""))
            elif found and (dump := HEX.match(line)):
                found[-1] = found[-1]._replace(data=found[-1].data + bytes.fromhex(dump[1]))
        return found

    def arrivals(self, destination: str) -> set[tuple[str, str]]:
        """(interface, source) of the echo requests that came in for `destination`."""
        return {
            (packet.interface, packet.source)
            for packet in self.packets()
            if packet.direction == "In"
            and packet.destination == destination
            and "echo request" in packet.text
        }

    def about(self, address: str) -> list[Seen]:
        """The packets of ICMP from or to an address; those of an earlier test may still come."""
        return [packet for packet in self.packets() if address in (packet[2], packet[3])]

    def on(self, interface: str) -> list[Seen]:
        """The packets that passed one interface, in either direction."""
        return [packet for packet in self.packets() if packet.interface == interface]


def _is_marker(packet: Seen) -> bool:
    return packet.source.startswith("127.77.") or packet.destination.startswith("127.77.")
