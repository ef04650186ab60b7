"""The ways out of a configuration: which interface each has at present, and its sockets.

Always true: policies with the same interface share one way out, so that no answer reaches two
sockets of ours; a way out has a socket for a family only while its interface is up and has an
address of that family that other networks can answer to; sockets are bound to the interface's
index, so an interface that comes back as another one gets new ones.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final, NamedTuple, Protocol

from router.config.model import DEFAULT_INTERFACE, Policy
from router.outbound.icmp import IcmpEgress, icmp_egress
from router.flows.queries import OUTSIDE_IDS
from router.platform.base import PlatformError, System, TunDevice
from router.policy.kernel import Kernel, PlannedRoutes
from router.policy.network import Interface, RouteKind, SystemRoute

log = logging.getLogger(__name__)

VERSIONS: Final = (4, 6)


class WayOut:
    """One interface as a way out: `interface: NAME` or `interface: default` of the policies."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.interfaces: dict[int, Interface] = {}
        self.icmp: dict[int, IcmpEgress] = {}

    @property
    def up(self) -> bool:
        return bool(self.interfaces)

    @property
    def name(self) -> str:
        """The interface for people to read: `eth0`, or `default (eth0)`."""
        names = sorted({interface.name for interface in self.interfaces.values()})
        if self.wanted != DEFAULT_INTERFACE or not names:
            return self.wanted
        return f"{self.wanted} ({', '.join(names)})"

    def owns(self, address: bytes) -> bool:
        """Whether an address, 4 or 16 bytes, is the interface's own."""
        interface = self.interfaces.get(4 if len(address) == 4 else 6)
        return interface is not None and any(
            own.ip.packed == address for own in interface.addresses
        )


class Outside(NamedTuple):
    """What stands outside for somebody inside: an identifier or port of ours on a way out."""

    way: WayOut
    number: int


class Change(NamedTuple):
    """A way out that is not as it was. `lost`: the families whose flows can be answered no more, as
    the interface is gone or another one, or an address that they may have is gone from it."""

    way: WayOut
    lost: frozenset[int]


class SocketWatcher(Protocol):
    """Who is told of sockets, to wait for what they receive."""

    def opened(self, egress: IcmpEgress) -> None: ...

    def closing(self, egress: IcmpEgress) -> None: ...


class WaysOut:
    """All ways out. `tun` is our own device, which is none."""

    def __init__(
        self, system: System, policies: Iterable[Policy], tun: TunDevice, watcher: SocketWatcher
    ) -> None:
        self._system = system
        self._tun = tun
        self._watcher = watcher
        self._kernel: Kernel | None = None
        self.by_policy: dict[str, WayOut] = {}
        self._by_interface: dict[str, WayOut] = {}
        self._name(policies)

    def __iter__(self) -> Iterator[WayOut]:
        return iter(self._by_interface.values())

    def is_up(self, policy: str) -> bool:
        """Whether a policy's way out is there; built-in policies always are."""
        way = self.by_policy.get(policy)
        return way is None or way.up

    def of(self, egress: IcmpEgress) -> WayOut | None:
        """The way out that a raw socket is of."""
        return next((way for way in self if way.icmp.get(egress.version) is egress), None)

    def by_system(self, version: int, address: int) -> WayOut | None:
        """The way out that the system's own routes name for an address, were the TUN not there.

        None where they name none. What the system's routes are is read when it is first asked
        after a change.
        """
        if self._kernel is None:
            self._kernel = Kernel(self._system.network(), PlannedRoutes([]))
        route = self._kernel.choose(version, address)
        if not isinstance(route, SystemRoute) or route.kind is not RouteKind.UNICAST:
            return None
        if route.interface == self._tun.name:
            return None
        if route.interface not in self._by_interface:
            way = self._by_interface[route.interface] = WayOut(route.interface)
            self._refresh(way, self._usable(way.wanted, self._system.interfaces.all()))
        return self._by_interface[route.interface]

    def refresh(self) -> list[Change]:
        """Bring every way out in line with the system's present interfaces; what has changed."""
        self._kernel = None
        present = self._system.interfaces.all()
        changes = []
        for way in self:
            before = dict(way.interfaces)
            self._refresh(way, self._usable(way.wanted, present))
            if way.interfaces != before:
                changes.append(Change(way, lost_families(before, way.interfaces)))
        return changes

    def take_over(self, policies: Iterable[Policy]) -> None:
        """Serve other policies: those ways out that there are stay as they are, new ones are
        opened. What is wanted no more is there until `close_unused`."""
        known = set(self._by_interface)
        self.by_policy.clear()
        self._name(policies)
        new = [way for wanted, way in self._by_interface.items() if wanted not in known]
        present = self._system.interfaces.all() if new else {}
        for way in new:
            self._refresh(way, self._usable(way.wanted, present))

    def close_unused(self, in_use: Container[WayOut]) -> None:
        """Close what neither a policy nor a flow needs. Not while the loop is in the round in
        which one of its sockets may be readable."""
        named = set(self.by_policy.values())
        for wanted, way in list(self._by_interface.items()):
            if way not in named and way not in in_use:
                self._refresh(way, {})
                del self._by_interface[wanted]

    def why_down(self, way: WayOut) -> str:
        """One clause that says what a way out that is down lacks."""
        if way.wanted == DEFAULT_INTERFACE:
            return "no interface holds a default route"
        interface = self._system.interfaces.all().get(way.wanted)
        if interface is None:
            return f"there is no interface {way.wanted}"
        if not interface.up:
            return f"interface {way.wanted} is not up"
        if not any(map(interface.source, VERSIONS)):
            return f"interface {way.wanted} has no usable address"
        return f"interface {way.wanted} cannot be used, for the reason above"

    def close(self) -> None:
        for way in self:
            self._refresh(way, {})

    def _name(self, policies: Iterable[Policy]) -> None:
        for policy in policies:
            if policy.interface is not None:
                way = self._by_interface.setdefault(policy.interface, WayOut(policy.interface))
                self.by_policy[policy.name] = way

    def _usable(self, wanted: str, present: Mapping[str, Interface]) -> dict[int, Interface]:
        usable = {}
        for version in VERSIONS:
            name: str | None = wanted
            if wanted == DEFAULT_INTERFACE:
                name = self._system.interfaces.holding_default(version, self._tun.name)
            interface = present.get(name) if name else None
            if interface and interface.up and interface.source(version):
                usable[version] = interface
        return usable

    def _refresh(self, way: WayOut, usable: dict[int, Interface]) -> None:
        """Open and close sockets until the way out has what `usable` says."""
        for version in VERSIONS:
            now, then = usable.get(version), way.interfaces.get(version)
            if now == then:
                if now is not None:
                    self._keep(now)
                continue
            if then is not None and (now is None or now.index != then.index):
                self._close(way, version)
            if now is not None:
                way.interfaces[version] = now
                self._open(way, version)

    def _open(self, way: WayOut, version: int) -> None:
        """A way out that cannot be opened stays down: the interface may be gone again already."""
        interface = way.interfaces[version]
        try:
            self._system.prepare_way_out(interface)
            if version in way.icmp:
                way.icmp[version].mtu = interface.mtu
                return
            sock = self._system.icmp_socket(version, interface, OUTSIDE_IDS)
            path = partial(self._system.path, version, interface)
            way.icmp[version] = icmp_egress(version, sock, interface.mtu, path)
        except (PlatformError, OSError) as error:
            log.warning("interface %s cannot be used: %s", interface.name, error)
            self._close(way, version)
            return
        self._watcher.opened(way.icmp[version])

    def _keep(self, interface: Interface) -> None:
        """What it needs may have been taken away without a change of the interface itself."""

        def told(done: bool | PlatformError) -> None:
            if isinstance(done, PlatformError):
                log.warning("interface %s cannot be kept ready: %s", interface.name, done)
            elif done:
                log.warning(
                    "interface %s: another program has undone what its answers need; done again",
                    interface.name,
                )

        self._system.prepare_way_out_soon(interface, told)

    def _close(self, way: WayOut, version: int) -> None:
        del way.interfaces[version]
        egress = way.icmp.pop(version, None)
        if egress is not None:
            self._watcher.closing(egress)
            egress.close()


def lost_families(
    before: Mapping[int, Interface], after: Mapping[int, Interface]
) -> frozenset[int]:
    """See Change."""
    return frozenset(
        version
        for version, then in before.items()
        if version not in after
        or after[version].index != then.index
        or not _of(version, then) <= _of(version, after[version])
    )


def _of(version: int, interface: Interface) -> set[IPv4Interface | IPv6Interface]:
    return {address for address in interface.addresses if address.version == version}
