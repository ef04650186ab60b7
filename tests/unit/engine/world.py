"""A forwarder with its surroundings in memory: a TUN that records what is written to it,
outbounds that record what is sent by them. The rules are those of a real rules file."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address, ip_interface
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

from router.config.loader import load
from router.config.model import Policy, PolicyType
from router.engine.applied_rules import AppliedRules
from router.engine.assembly import Host, make_forwarder
from router.engine.carriers import Carriers
from router.engine.icmp.queries import Queries
from router.engine.reading import TunReader
from router.engine.refusals import Refusals
from router.engine.tcp.dial import DESCRIPTORS_EACH
from router.engine.tcp.streams import Streams, Watcher
from router.engine.tun_writer import TunWriter
from router.engine.udp.datagrams import Datagrams
from router.flows.drops import Drops
from router.outbound.all import Find, Kind, Outbounds, Surroundings
from router.outbound.base import Outbound
from router.outbound.descriptors import Descriptors
from router.outbound.direct import DirectSenders
from router.outbound.local_addresses import LocalAddresses
from router.outbound.system_routes import SystemRoutes
from router.platform.base.descriptors import Bytes
from router.platform.base.flow_offload import FlowOffload
from router.platform.base.packet_filter import TrackedRequest
from router.platform.base.system import System
from router.platform.base.tcp import TcpSockets
from router.platform.base.tun import TunQueue
from router.policy.match.table import RuleSet
from router.policy.network import Interface
from router.wire import icmp, ip, offload
from tests.unit.engine.memory_outbound import Dials, MemoryChannel, MemoryOutbound, Owners
from tests.unit.engine.memory_raw import MemoryRawSockets
from tests.unit.engine.tcp.memory import MemoryTcp
from tests.unit.engine.udp.memory import MemorySystem, MemoryUdpSocket, mapping_sockets

TUN_ADDRESSES = {4: bytes([192, 168, 7, 1]), 6: bytes.fromhex("fd77" + "00" * 13 + "01")}
PEERS = {4: ip_address("192.168.7.2").packed, 6: ip_address("fd77::2").packed}
OWN = {"eth0": ("192.0.2.2", "2001:db8:2::2"), "wg0": ("10.8.0.2", "fd08::2")}

SYSTEM_ROUTES = (0xCB00, 0x20010DB801130000)
"""203.0.0.0/16 and 2001:db8:113::/64."""

RULES = """
version: 1
policies:
  home: {type: direct, interface: eth0}
  office: {type: vpn, interface: wg0}
  careful: {type: vpn, interface: gone, on_down: drop}
rules:
  - {cidr: [198.51.100.1, "2001:db8:100::1"], policy: reply}
  - {cidr: [198.51.100.2, "2001:db8:100::2"], policy: drop}
  - {cidr: [198.51.100.3, "2001:db8:100::3"], policy: reject}
  - {cidr: [198.51.100.4, "2001:db8:100::4"], policy: office}
  - {cidr: [198.51.100.5, "2001:db8:100::5"], policy: careful}
  - {cidr: [198.51.100.0/24, "2001:db8:100::/64"], policy: home}
  - {cidr: [203.0.113.0/24, "2001:db8:113::/64"], protocol: tcp, policy: home}
"""


ETH0 = Interface(
    "eth0",
    3,
    up=True,
    mtu=1500,
    addresses=(ip_interface("192.0.2.2/24"), ip_interface("2001:db8:2::2/64")),
)


class MemoryTimers:
    """See HasTimers."""

    def __init__(self) -> None:
        self.now = 1.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self._timers.append((self.now + delay, callback))

    def run_until(self, now: float) -> None:
        self.now = now
        due = [callback for at, callback in self._timers if at <= now]
        self._timers = [each for each in self._timers if each[0] > now]
        for callback in due:
            callback()


class MemoryQueue:
    """See TunQueue. looked: how often it was read, also where nothing was in it."""

    def __init__(self, frame: bytearray) -> None:
        self.frame = frame
        self.incoming: list[bytes] = []
        self.looked = 0

    def fileno(self) -> int:
        raise AssertionError("a TUN in memory has no descriptor")

    def receive(self) -> int:
        self.looked += 1
        if not self.incoming:
            raise BlockingIOError
        frame = self.incoming.pop(0)
        self.frame[: len(frame)] = frame
        return len(frame)


class MemoryTun(MemoryQueue):
    """See TunDevice."""

    name = "tun11"
    index = 9
    mtu = 1500
    offloads = True
    forwarded: TunQueue | None = None
    flow_offload: FlowOffload | None = None

    def __init__(self) -> None:
        super().__init__(bytearray(offload.HEADER + 65535))
        self.runs: list[bytes] = []
        self.refuses_runs = False
        self.written: list[bytes] = []

    def send(self, size: int) -> None:
        self.written.append(bytes(self.frame[offload.HEADER : size]))

    def write(self, packet: bytes | bytearray) -> None:
        self.written.append(bytes(packet))

    def write_parts(self, parts: Sequence[Bytes]) -> None:
        if self.refuses_runs:
            raise OSError(errno.EINVAL, "")
        self.runs.append(b"".join(parts))

    def close(self) -> None:
        pass


class MemoryOutbounds(Outbounds):
    """See Outbounds; policies with the same interface share one, and all but `gone` are up."""

    def __init__(
        self, policies: Iterable[Policy], udp: MemorySystem, tcp: Dials, owners: Owners = dict
    ) -> None:
        self.by_interface: dict[str, MemoryOutbound] = {}

        def make(policy: Policy, _surroundings: Surroundings, _find: Find) -> MemoryOutbound:
            name = policy.interface or ""
            own = dict(zip((4, 6), OWN.get(name, ()), strict=False))
            outbound = self.by_interface[name] = MemoryOutbound(name, own, udp, tcp, owners)
            outbound.interfaces = [name]
            return outbound

        kind = Kind(lambda policy, _: policy.interface, make)
        system = cast(System, SimpleNamespace(interfaces=SimpleNamespace(all=dict)))
        routes = cast(SystemRoutes, SimpleNamespace(forget=lambda: None))
        surroundings = Surroundings(
            system, "tun11", LocalAddresses("tun11"), *(cast(Any, None),) * 3, routes
        )
        super().__init__(policies, surroundings, {PolicyType.DIRECT: kind, PolicyType.VPN: kind})

    def by_system(self, version: int, address: int) -> Outbound | None:
        """The system's own routes are SYSTEM_ROUTES, all of them by eth0."""
        known = address >> (16 if version == 4 else 64) in SYSTEM_ROUTES
        return self.by_interface["eth0"] if known else None


NOWHERE: Mapping[str, Interface] = MappingProxyType({})

_open: list[World] = []


def close_worlds() -> None:
    """Closes what tests have left open: hundreds of descriptors, which would stay until the garbage
    collector runs, and make another test fail that can have no more of them."""
    while _open:
        _open.pop().close()


class MemoryHost:
    """What a test says of the machine, and what was asked of it.

    requests: those of other hosts that the system tracks, by source and destination of answers.
    covered: the destinations from which the system counts the answers for a policy.
    refuses: whether its rules may refuse what leaves by some interface. forwarding: what it was
    told about flows that are forwarded.
    """

    def __init__(self) -> None:
        self.translates = self.refuses = False
        self.forwarding: list[bool] = []
        self.obstacle: str | None = None
        self.listening: set[tuple[bytes, int]] = set()
        self.covered: set[tuple[str, int, int]] = set()
        self.requests: dict[tuple[bytes, bytes], TrackedRequest] = {}
        self.asked = 0
        self.is_late = False
        self.replies_at_once = True
        self._replies: deque[Callable[[], None]] = deque()

    def reply(self) -> None:
        """The other process answers all that it was asked."""
        while self._replies:
            self._replies.popleft()()

    def covers(self, policy: str, version: int, address: int) -> bool:
        return (policy, version, address) in self.covered

    def as_host(self) -> Host:
        return Host(
            lambda address, port, _interface: (address, port) in self.listening,
            lambda _interface: self.obstacle,
            lambda _interface: self.obstacle is None and not self.refuses,
            self.forwarding.append,
            lambda: self.translates,
            self._request_of,
        )

    def _request_of(self, packet: ip.Packet, done: Callable[[TrackedRequest | None], None]) -> None:
        if self.is_late:
            raise BlockingIOError
        self.asked += 1
        self._replies.append(partial(done, self.requests.get((packet.source, packet.destination))))
        if self.replies_at_once:
            self.reply()


class World(MemoryHost):
    """What a test does: put a packet in, look at what came out where.

    most: connections at a time. local: the other interfaces of the machine, with their addresses.
    flow_offload: that of the TUN.
    """

    def __init__(
        self,
        directory: Path,
        rules: str = RULES,
        most: int = 100,
        local: Mapping[str, Interface] = NOWHERE,
        flow_offload: FlowOffload | None = None,
    ) -> None:
        super().__init__()
        file = directory / "rules.yaml"
        file.write_text(rules, encoding="utf-8")
        config = load(file).config
        assert config is not None
        self.tun, self.udp, self.tcp = MemoryTun(), MemorySystem(), MemoryTcp()
        self.tun.flow_offload = flow_offload
        self.raw, self.timers = MemoryRawSockets(), MemoryTimers()
        addresses = self.addresses = LocalAddresses(self.tun.name)
        addresses.refresh(local)
        self.outbounds = MemoryOutbounds(
            config.policies.values(), self.udp, self.tcp, lambda: addresses.owners
        )
        senders = DirectSenders(cast(System, SimpleNamespace(sockets=self.raw)), addresses)
        for outbound in self.outbounds.by_interface.values():
            outbound.senders = senders
        drops = Drops()
        self.writer = TunWriter(self.tun, drops)
        refusals = Refusals(self.writer, drops, PEERS)
        self.carriers = self._carriers(most, refusals, drops)
        applied = AppliedRules(config, RuleSet.build(config), self.outbounds, self.covers)
        self.forwarder = make_forwarder(
            *(applied, self.carriers, self.outbounds, senders, self.tun, refusals, drops),
            *(self.timers, self.as_host()),
        )
        self.direct = self.forwarder.direct
        self.reader = TunReader(self.forwarder, self.tun)
        _open.append(self)

    def _carriers(self, most: int, refusals: Refusals, drops: Drops) -> Carriers:
        descriptors = Descriptors(2 * most * DESCRIPTORS_EACH)  # of few, half are a reserve
        sockets, loop = cast(TcpSockets, self.tcp), cast(Watcher, self.tcp)
        streams = Streams(
            *(sockets, self.tun, loop, TUN_ADDRESSES, _is_own, descriptors),
            *(self.writer, refusals, drops),
        )
        queries = Queries(self.writer, refusals, drops, 0, lambda _: True)
        datagrams = Datagrams(self.writer, refusals, drops, mapping_sockets(self.udp))
        return Carriers(queries, datagrams, streams, drops)

    def close(self) -> None:
        self.carriers.streams.close()
        self.tcp.close()

    def send(self, packet: bytes, now: float = 1.0) -> list[bytes]:
        """What comes back out of the TUN at once."""
        self.tun.written.clear()
        self.timers.now = now
        self.forwarder.from_tun(packet, now)
        return list(self.tun.written)

    def answer(self, policy: str, packet: bytes, now: float = 1.0) -> list[bytes]:
        """What comes out of the TUN when `packet` arrives by the outbound of `policy`."""
        self.tun.written.clear()
        view = ip.parse(packet)
        self.forwarder.from_outside(self.channel(policy, view.version), view, now)
        return list(self.tun.written)

    def outbound(self, policy: str) -> MemoryOutbound:
        outbound = self.outbounds.by_policy[policy]
        assert isinstance(outbound, MemoryOutbound)
        return outbound

    def channel(self, policy: str, version: int) -> MemoryChannel:
        return self.outbound(policy).channels[version]

    def sent(self, policy: str, version: int) -> Sequence[tuple[ip.Packet, int]]:
        return self.channel(policy, version).sent

    def send_together(self, packets: Sequence[bytes], now: float = 1.0) -> list[bytes]:
        """What comes back when all are in the TUN before the first is read, until it is empty."""
        self.tun.written.clear()
        self.tun.incoming = [offload.NOTHING_LEFT + packet for packet in packets]
        self.read(len(packets) + 1, now)
        return list(self.tun.written)

    def read(self, budget: int, now: float) -> None:
        """A turn of the loop that reads the TUN to its end, or `budget` packets."""
        self.reader.short = 0
        self.reader.turn(budget, now)

    def receive(self, sock: MemoryUdpSocket, now: float = 1.0) -> list[bytes]:
        """What comes out of the TUN when a UDP socket is readable."""
        self.tun.written.clear()
        self.udp.readers[sock.fileno()](now)
        return list(self.tun.written)

    @property
    def drops(self) -> Mapping[str, int]:
        return self.forwarder.drops.nonzero()


def _is_own(address: bytes) -> bool:
    return address in TUN_ADDRESSES.values()


def far(version: int, host: int) -> str:
    return f"198.51.100.{host}" if version == 4 else f"2001:db8:100::{host}"


def reply_to(request: ip.Packet, outside_id: int, own: str) -> bytes:
    """The answer of the far host to a request that left as `outside_id` from `own`."""
    data = bytearray(request.data)
    packed = ip_address(own).packed
    if request.version == 4:
        data[12:16] = packed
    else:
        data[8:24] = packed
    start = request.payload
    data[start + 4 : start + 6] = outside_id.to_bytes(2, "big")
    return icmp.echo_reply(ip.parse(bytes(data)))
