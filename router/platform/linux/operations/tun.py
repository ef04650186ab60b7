"""The TUN and its routes."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from typing import Any

from router.config.schema import MAXIMUM_MTU, MINIMUM_MTU
from router.platform.base.errors import PlatformError
from router.platform.base.routes import ReconcileResult
from router.platform.families import FAMILY
from router.platform.linux.bound_to_tun import route_bound_sockets
from router.platform.linux.entries import tun_entry
from router.platform.linux.leftovers import clean_up
from router.platform.linux.netlink.addresses import Address
from router.platform.linux.netlink.links import get_link_named
from router.platform.linux.netlink.request import request
from router.platform.linux.netlink.table_entry import TableEntry
from router.platform.linux.operations.conflicts import check_addresses_free, name_conflict
from router.platform.linux.reconcile import install_routes, present_routes, reconcile_routes
from router.platform.linux.runtime import RUNTIME
from router.platform.linux.tun import open_tun
from router.platform.linux.tun_interface.interface import TunInterface
from router.platform.linux.undoable import LINUX
from router.platform.privileged.arguments import (
    check_interface_name,
    check_number,
    check_tun_addresses,
)
from router.platform.privileged.channel import Message
from router.platform.privileged.route_message import unpack_routes
from router.platform.privileged.undoable import Watched
from router.platform.privileged.undoer import Undoer, start_undoer
from router.platform.reason import reason, remedy
from router.policy.prefixes import format_prefix
from router.policy.routes.route import Route


class TunOperations:
    """Of the one TUN. `name`, `index` and `addresses` are its own once it is open. router: see
    Operations."""

    def __init__(self, router: Watched | None) -> None:
        self.undoer: Undoer | None = None
        self.name = ""
        self.index = 0
        self._router = router
        self._interface: TunInterface | None = None
        self._routes: list[Route] = []
        self.addresses: Sequence[Address] = ()

    def open_tun(
        self, name: str | None, mtu: int, addresses: Sequence[str], *, offloads: bool
    ) -> Message:
        """The TUN with its addresses, up: LinuxTun's arguments, what former runs had left and
        whether it is undone, and the descriptors, of which the guard keeps none."""
        if self.undoer is not None:
            raise PlatformError(f"there is a TUN device already, {self.name}")
        if name is not None:
            check_interface_name(name)
        check_number(mtu, MINIMUM_MTU, MAXIMUM_MTU)
        configured = check_tun_addresses(addresses)
        leftovers = list(clean_up())
        self._check_free(name, addresses)
        tun = open_tun(name, mtu, offloads)
        self.name, self.index = tun.name, tun.index
        try:
            self.undoer = start_undoer(LINUX, RUNTIME, tun.name, self._router)
            self.undoer.record(tun_entry(tun.name, tun.index))
            self._interface = TunInterface(tun, configured)
            self._interface.configure()
            route_bound_sockets(self.name, self.index, self.undoer)
        except PlatformError:
            tun.close()
            raise
        except OSError as error:
            tun.close()
            raise PlatformError(
                f"{tun.name} cannot be configured: {reason(error)}: {remedy(error)}"
            ) from error
        self.addresses = configured
        return Message(({"name": tun.name, "offloads": tun.offloads}, leftovers), tun.descriptors)

    def add_routes(self, labels: Sequence[Any], records: bytes) -> Message:
        """See RouteInstaller.add_routes."""
        routes = unpack_routes(labels, records)
        self.opened().address_routes.learn()
        install_routes(self.index, routes)
        self._routes = routes
        return Message(None)

    def reconcile(self, labels: Sequence[Any] | None, records: bytes) -> Message:
        """See RouteInstaller.reconcile; without labels those routes are wanted that were wanted
        before. What is refused is not wanted afterwards."""
        former = self._routes
        if labels is not None:
            self._routes = unpack_routes(labels, records)
        try:
            return Message(self._reconcile())
        except BaseException:
            self._routes = former
            raise

    def _reconcile(self) -> ReconcileResult:
        """Raises PlatformError."""
        interface = self.opened()
        try:
            result = interface.restore()
        except OSError as error:
            raise PlatformError(f"{self.name} cannot be inspected: {reason(error)}") from error
        if self._route_bound_sockets():
            result.restored.append(f"the routes of what is bound to {self.name}")
        refused: list[str] = []
        for version in FAMILY:
            try:
                self._reconcile_family(interface, version, result)
            except (PlatformError, OSError) as error:
                impaired = version in interface.impaired
                (result.failed if impaired else refused).append(
                    f"IPv{version} routes ({reason(error)})"
                )
        if refused:
            raise PlatformError("; ".join(refused))
        return result

    def _route_bound_sockets(self) -> bool:
        """Whether something was missing. It is the least of what the TUN needs: an error leaves it
        to the next time."""
        try:
            return route_bound_sockets(self.name, self.index, self.opened_undoer())
        except OSError:
            return False

    def opened(self) -> TunInterface:
        """Raises PlatformError before there is one."""
        if self._interface is None:
            raise PlatformError("there is no TUN device yet")
        return self._interface

    def opened_undoer(self) -> Undoer:
        """Raises PlatformError before there is one."""
        if self.undoer is None:
            raise PlatformError("there is no TUN device yet")
        return self.undoer

    def _check_free(self, name: str | None, addresses: Sequence[str]) -> None:
        """Raises PlatformError, OSError."""
        if name is not None and _is_taken(name):
            raise name_conflict(name)
        check_addresses_free(addresses)

    def _reconcile_family(
        self, interface: TunInterface, version: int, result: ReconcileResult
    ) -> None:
        """Raises OSError, PlatformError."""
        present = present_routes(self.index, version)
        interface.address_routes.restore(version, present.kernel, result)
        wanted = [route for route in self._routes if route.version == version]
        routes, sourceless = reconcile_routes(self.index, version, wanted, present)
        result.restored.extend(_prefixes(routes))
        result.resourced.extend(_prefixes(sourceless))


def _prefixes(entries: Iterable[TableEntry]) -> Iterable[str]:
    """Each once, with and without a twin."""
    return (format_prefix(*prefix) for prefix in dict.fromkeys(each[:3] for each in entries))


def _is_taken(name: str) -> bool:
    """Raises OSError."""
    try:
        request(get_link_named(name))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return False
    return True
