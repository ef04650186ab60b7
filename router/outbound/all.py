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
from router.flows.queries import OUTSIDE_IDS
from router.outbound.icmp import IcmpSocket, wrap_icmp_socket
from router.platform.base.errors import PlatformError
from router.platform.base.system import System
from router.platform.base.tun import TunDevice
from router.policy.kernel import Kernel, PlannedRoutes
from router.policy.network import Interface, RouteKind, SystemRoute

log = logging.getLogger(__name__)

VERSIONS: Final = (4, 6)


class Outbound:
    """One interface as a way out: `interface: NAME` or `interface: default` of the policies."""

    def __init__(self, wanted: str) -> None:
        self.wanted = wanted
        self.interfaces: dict[int, Interface] = {}
        self.icmp: dict[int, IcmpSocket] = {}

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


class NatEndpoint(NamedTuple):
    """What stands outside for somebody inside: an identifier or port of ours on a way out."""

    outbound: Outbound
    number: int


class Change(NamedTuple):
    """A way out that is not as it was. `lost`: the families whose flows can be answered no more, as
    the interface is gone or another one, or an address that they may have is gone from it."""

    outbound: Outbound
    lost: frozenset[int]


class SocketWatcher(Protocol):
    """Who is told of sockets, to wait for what they receive."""

    def opened(self, sock: IcmpSocket) -> None: ...

    def closing(self, sock: IcmpSocket) -> None: ...


class Outbounds:
    """All ways out. `tun` is our own device, which is none."""

    def __init__(
        self, system: System, policies: Iterable[Policy], tun: TunDevice, watcher: SocketWatcher
    ) -> None:
        self._system = system
        self._tun = tun
        self._watcher = watcher
        self._kernel: Kernel | None = None
        self.by_policy: dict[str, Outbound] = {}
        self._by_interface: dict[str, Outbound] = {}
        self._name(policies)

    def __iter__(self) -> Iterator[Outbound]:
        return iter(self._by_interface.values())

    def is_up(self, policy: str) -> bool:
        """Whether a policy's way out is there; built-in policies always are."""
        outbound = self.by_policy.get(policy)
        return outbound is None or outbound.up

    def of(self, sock: IcmpSocket) -> Outbound | None:
        """The way out that a raw socket is of."""
        return next(
            (outbound for outbound in self if outbound.icmp.get(sock.version) is sock), None
        )

    def by_system(self, version: int, address: int) -> Outbound | None:
        """The way out that the system's own routes name for an address, were the TUN not there.

        None where they name none. What the system's routes are is read when it is first asked
        after a change.
        """
        if self._kernel is None:
            self._kernel = Kernel(self._system.facts.network(), PlannedRoutes([]))
        route = self._kernel.choose(version, address)
        if not isinstance(route, SystemRoute) or route.kind is not RouteKind.UNICAST:
            return None
        if route.interface == self._tun.name:
            return None
        if route.interface not in self._by_interface:
            outbound = self._by_interface[route.interface] = Outbound(route.interface)
            self._refresh(outbound, self._usable(outbound.wanted, self._system.interfaces.all()))
        return self._by_interface[route.interface]

    def refresh(self) -> list[Change]:
        """Bring every way out in line with the system's present interfaces; what has changed."""
        self._kernel = None
        present = self._system.interfaces.all()
        changes = []
        for outbound in self:
            before = dict(outbound.interfaces)
            self._refresh(outbound, self._usable(outbound.wanted, present))
            if outbound.interfaces != before:
                changes.append(Change(outbound, lost_families(before, outbound.interfaces)))
        return changes

    def take_over(self, policies: Iterable[Policy]) -> None:
        """Serve other policies: those ways out that there are stay as they are, new ones are
        opened. What is wanted no more is there until `close_unused`."""
        known = set(self._by_interface)
        self.by_policy.clear()
        self._name(policies)
        new = [outbound for wanted, outbound in self._by_interface.items() if wanted not in known]
        present = self._system.interfaces.all() if new else {}
        for outbound in new:
            self._refresh(outbound, self._usable(outbound.wanted, present))

    def close_unused(self, in_use: Container[Outbound]) -> None:
        """Close what neither a policy nor a flow needs. Not while the loop is in the round in
        which one of its sockets may be readable."""
        named = set(self.by_policy.values())
        for wanted, outbound in list(self._by_interface.items()):
            if outbound not in named and outbound not in in_use:
                self._refresh(outbound, {})
                del self._by_interface[wanted]

    def why_down(self, outbound: Outbound) -> str:
        """One clause that says what a way out that is down lacks."""
        if outbound.wanted == DEFAULT_INTERFACE:
            return "no interface holds a default route"
        interface = self._system.interfaces.all().get(outbound.wanted)
        if interface is None:
            return f"there is no interface {outbound.wanted}"
        if not interface.up:
            return f"interface {outbound.wanted} is not up"
        if not any(map(interface.source, VERSIONS)):
            return f"interface {outbound.wanted} has no usable address"
        return f"interface {outbound.wanted} cannot be used, for the reason above"

    def close(self) -> None:
        for outbound in self:
            self._refresh(outbound, {})

    def _name(self, policies: Iterable[Policy]) -> None:
        for policy in policies:
            if policy.interface is not None:
                outbound = self._by_interface.setdefault(
                    policy.interface, Outbound(policy.interface)
                )
                self.by_policy[policy.name] = outbound

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

    def _refresh(self, outbound: Outbound, usable: dict[int, Interface]) -> None:
        """Open and close sockets until the way out has what `usable` says."""
        for version in VERSIONS:
            now, then = usable.get(version), outbound.interfaces.get(version)
            if now == then:
                if now is not None:
                    self._keep(now)
                continue
            if then is not None and (now is None or now.index != then.index):
                self._close(outbound, version)
            if now is not None:
                outbound.interfaces[version] = now
                self._open(outbound, version)

    def _open(self, outbound: Outbound, version: int) -> None:
        """A way out that cannot be opened stays down: the interface may be gone again already."""
        interface = outbound.interfaces[version]
        try:
            self._system.routes.prepare_interface(interface)
            if version in outbound.icmp:
                outbound.icmp[version].mtu = interface.mtu
                return
            sock = self._system.sockets.icmp_socket(version, interface, OUTSIDE_IDS)
            path = partial(self._system.facts.path, version, interface)
            outbound.icmp[version] = wrap_icmp_socket(version, sock, interface.mtu, path)
        except (PlatformError, OSError) as error:
            log.warning("interface %s cannot be used: %s", interface.name, error)
            self._close(outbound, version)
            return
        self._watcher.opened(outbound.icmp[version])

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

        self._system.routes.request_prepare_interface(interface, told)

    def _close(self, outbound: Outbound, version: int) -> None:
        del outbound.interfaces[version]
        sock = outbound.icmp.pop(version, None)
        if sock is not None:
            self._watcher.closing(sock)
            sock.close()


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
