"""The utun and its routes."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any, Final

from router.config.schema import MAXIMUM_MTU, MINIMUM_MTU
from router.platform.base.errors import PlatformError
from router.platform.darwin.kernel import RoutingKernel, UtunKernel
from router.platform.darwin.routes import DarwinRoutes
from router.platform.darwin.sockaddr import Link
from router.platform.darwin.state import is_loopback, read_interfaces
from router.platform.darwin.utun import UtunDevice, open_utun
from router.platform.privileged.arguments import (
    MOST_INDEX,
    check_interface_name,
    check_number,
    check_tun_addresses,
)
from router.platform.privileged.channel import Message
from router.platform.privileged.leftovers import clean_up
from router.platform.privileged.route_message import unpack_routes
from router.platform.privileged.runtime import RuntimeDirectory
from router.platform.privileged.undoable import Undoable, Watched
from router.platform.privileged.undoer import Undoer, start_undoer
from router.platform.reason import reason, remedy
from router.policy.network import Interface
from router.policy.routes.route import Route

NOT_OPEN: Final = "there is no utun yet"


class UtunOperations:
    """Of the one utun. `name`, `index` and `addresses` are its own once it is open.

    router: whose end the undoer is to notice.
    """

    def __init__(
        self,
        routing: RoutingKernel,
        utuns: UtunKernel,
        system: Undoable,
        runtime: RuntimeDirectory,
        router: Watched | None,
    ) -> None:
        self.undoer: Undoer | None = None
        self.name = ""
        self.index = 0
        self.addresses: Sequence[IPv4Interface | IPv6Interface] = ()
        self._routing = routing
        self._utuns = utuns
        self._system = system
        self._runtime = runtime
        self._router = router
        self._routes: DarwinRoutes | None = None
        self._wanted: list[Route] = []

    def open_tun(self, name: str | None, mtu: int, addresses: Sequence[str]) -> Message:
        """The utun with its addresses, up: name, index and own IPv4 addresses, what former runs had
        left and whether it is undone, and the descriptor, which the guard keeps only until the
        router has it."""
        if self.undoer is not None:
            raise PlatformError(f"there is a utun already, {self.name}")
        if name is not None:
            check_interface_name(name)
        check_number(mtu, MINIMUM_MTU, MAXIMUM_MTU)
        wanted = check_tun_addresses(addresses)
        leftovers = list(clean_up(self._system, self._runtime.path()))
        self._check_free(wanted)
        utun = open_utun(self._utuns, name, mtu, wanted)
        try:
            self._begin(utun, wanted)
        except PlatformError:
            utun.close()
            raise
        except OSError as error:
            utun.close()
            raise PlatformError(
                f"{utun.name} cannot be set up: {reason(error)}: {remedy(error)}"
            ) from error
        found = {"name": utun.name, "index": utun.index, "own": sorted(map(bytes.hex, utun.own))}
        return Message((found, leftovers), [utun.fileno()])

    def add_routes(self, labels: Sequence[Any], records: bytes) -> Message:
        """See RouteInstaller.begin_adding."""
        routes = unpack_routes(labels, records)
        self._opened().begin_adding(routes)()
        self._wanted = routes
        return Message(None)

    def reconcile(self, labels: Sequence[Any] | None, records: bytes) -> Message:
        """See RouteInstaller.reconcile; without labels those routes are wanted that were wanted
        before. What is refused is not wanted afterwards."""
        routes = self._opened()
        former = self._wanted
        if labels is not None:
            self._wanted = unpack_routes(labels, records)
        try:
            return Message(routes.reconcile(self._wanted))
        except PlatformError:
            self._wanted = former
            raise

    def prepare_interface(self, name: str, index: int) -> Message:
        """See RouteInstaller.prepare_interface."""
        interface = self.interface(name, index)
        return Message(self._opened().prepare_interface(interface))

    def interface(self, name: Any, index: Any) -> Interface:
        """An interface that there is, by both; not the loopback interface, from which packets would
        seem to be those of this machine's own programs. Raises PlatformError, OSError."""
        found = read_interfaces(self._routing).get(check_interface_name(name))
        if found is None or found.index != check_number(index, 1, MOST_INDEX):
            raise PlatformError(f"interface {name} is gone")
        if is_loopback(self._routing, found.name):
            raise PlatformError(f"{name} is the loopback interface, which is no way out")
        return found

    def opened_undoer(self) -> Undoer:
        """Raises PlatformError before there is one."""
        if self.undoer is None:
            raise PlatformError(NOT_OPEN)
        return self.undoer

    def _begin(self, utun: UtunDevice, addresses: Sequence[IPv4Interface | IPv6Interface]) -> None:
        """Raises OSError, PlatformError."""
        undoer = start_undoer(self._system, self._runtime, utun.name, self._router)
        self.undoer = undoer
        link = Link(utun.index, utun.name)
        self._routes = DarwinRoutes(self._routing, link, utun.mtu, addresses, undoer.record)
        self.name, self.index, self.addresses = utun.name, utun.index, addresses

    def _opened(self) -> DarwinRoutes:
        if self._routes is None:
            raise PlatformError(NOT_OPEN)
        return self._routes

    def _check_free(self, addresses: Sequence[IPv4Interface | IPv6Interface]) -> None:
        """Two utuns with one address, as of two routers with the same rules, would both be useless.
        Raises PlatformError, OSError."""
        wanted = {each.ip for each in addresses}
        for interface in read_interfaces(self._routing).values():
            for present in interface.addresses:
                if present.ip in wanted:
                    raise PlatformError(
                        f"{present.ip} is already an address of {interface.name}: end the program "
                        "that has made it, or choose another 'address' in 'tun'"
                    )
