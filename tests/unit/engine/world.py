"""A forwarder with everything around it made of memory: a TUN that keeps what is written to it,
ways out that keep what is sent by them. The rules are those of a real rules file."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

from router.config.loader import load
from router.engine.forwarder import Forwarder
from router.engine.reading import read_all
from router.engine.refusals import Refusals
from router.engine.tcp.streams import Streams
from router.engine.tun_writer import TunWriter
from router.flows import translate
from router.flows.drops import Drops
from router.flows.queries import Binding
from router.outbound.all import Outbound, Outbounds
from router.outbound.icmp import FindsPath
from router.platform.base.descriptors import Bytes
from router.platform.base.facts import NetworkPath
from router.policy.network import Interface
from router.policy.table import RuleSet
from router.wire import icmp, ip, offload
from tests.unit.engine.udp.memory import MemorySystem, MemoryUdpSocket, udp_sockets

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


class MemoryTun:
    """See TunDevice."""

    name = "tun11"
    index = 9
    mtu = 1500
    offloads = True

    def __init__(self) -> None:
        self.frame = bytearray(offload.HEADER + 65535)
        self.incoming: list[bytes] = []
        self.runs: list[bytes] = []
        self.refuses_runs = False
        self.written: list[bytes] = []

    def fileno(self) -> int:
        raise AssertionError("nobody waits for memory")

    def receive(self) -> int:
        if not self.incoming:
            raise BlockingIOError
        frame = self.incoming.pop(0)
        self.frame[: len(frame)] = frame
        return len(frame)

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


class MemoryEgress:
    """See IcmpEgress. `error` is raised by the next send."""

    mtu = 1500

    def __init__(self, version: int, own: str) -> None:
        self.path: FindsPath = lambda _address: NetworkPath(1300, ip_address(own).packed)
        self.version = version
        self.sent: list[tuple[ip.Packet, int]] = []
        self.errors: list[tuple[bytes, str]] = []
        self.error: OSError | None = None

    def fileno(self) -> int:
        raise AssertionError("nobody waits for memory")

    def send(self, request: ip.Packet, binding: Binding[Any]) -> None:
        if self.error:
            error, self.error = self.error, None
            raise error
        if request.version == 4:
            translate.request_v4(request, binding.inside_id, binding.outside_id)
        else:
            translate.request_v6(request, binding.outside_id)
        self.sent.append((request, binding.outside_id))

    def send_error(self, packet: bytes, address: tuple[str, int]) -> None:
        self.errors.append((packet, address[0]))

    def receive(self) -> ip.Packet:
        raise BlockingIOError

    def close(self) -> None:
        pass


class MemoryWays(Outbounds):
    """See WaysOut; whatever is not `gone` is up from the start."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        self._by_interface = {}
        self.by_policy = {}
        for policy, interface in wanted.items():
            outbound = self._by_interface.setdefault(interface, Outbound(interface))
            self.by_policy[policy] = outbound
            if interface in OWN:
                addresses = tuple(ip_interface(address) for address in OWN[interface])
                present = Interface(interface, 3, up=True, mtu=1500, addresses=addresses)
                outbound.interfaces = {4: present, 6: present}
                outbound.icmp = {
                    version: MemoryEgress(version, own)
                    for version, own in zip((4, 6), OWN[interface], strict=True)
                }

    def by_system(self, version: int, address: int) -> Outbound | None:
        """The system's own routes are SYSTEM_ROUTES, all of them by eth0."""
        known = address >> (16 if version == 4 else 64) in SYSTEM_ROUTES
        return self._by_interface["eth0"] if known else None


class World:
    """What a test does: put a packet in, look at what came out where."""

    def __init__(
        self,
        directory: Path,
        rules: str = RULES,
        streams: Callable[[MemoryTun, TunWriter, Refusals, Drops], Streams] | None = None,
    ) -> None:
        file = directory / "rules.yaml"
        file.write_text(rules, encoding="utf-8")
        config = load(file).config
        assert config is not None
        wanted = {p.name: p.interface for p in config.policies.values() if p.interface}
        self.tun = MemoryTun()
        self.outbounds = MemoryWays(wanted)
        self.udp = MemorySystem()
        self.forwarder = Forwarder(
            config,
            RuleSet.build(config),
            self.outbounds,
            self.tun,
            PEERS,
            first_id=0,
            sockets=udp_sockets(self.udp),
            streams=partial(streams, self.tun) if streams else None,
        )

    def send(self, packet: bytes, now: float = 1.0) -> list[bytes]:
        """What comes back out of the TUN at once."""
        self.tun.written.clear()
        self.forwarder.from_tun(packet, now)
        return list(self.tun.written)

    def answer(self, policy: str, packet: bytes, now: float = 1.0) -> list[bytes]:
        """What comes out of the TUN when `packet` arrives by the way out of `policy`."""
        self.tun.written.clear()
        view = ip.parse(packet)
        sock = self.outbounds.by_policy[policy].icmp[view.version]
        self.forwarder.from_outside(sock, view, now)
        return list(self.tun.written)

    def sock(self, policy: str, version: int) -> MemoryEgress:
        sock = self.outbounds.by_policy[policy].icmp[version]
        assert isinstance(sock, MemoryEgress)
        return sock

    def sent(self, policy: str, version: int) -> Sequence[tuple[ip.Packet, int]]:
        return self.sock(policy, version).sent

    def send_together(self, packets: Sequence[bytes], now: float = 1.0) -> list[bytes]:
        """What comes back when all are in the TUN before the first is read."""
        self.tun.written.clear()
        self.tun.incoming = [offload.NOTHING_LEFT + packet for packet in packets]
        read_all(self.forwarder, self.tun, len(packets), now)
        return list(self.tun.written)

    def receive(self, sock: MemoryUdpSocket, now: float = 1.0) -> list[bytes]:
        """What comes out of the TUN when a UDP socket is readable."""
        self.tun.written.clear()
        self.udp.readers[sock.fileno()](now)
        return list(self.tun.written)

    @property
    def drops(self) -> Mapping[str, int]:
        return self.forwarder.drops.nonzero()


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
