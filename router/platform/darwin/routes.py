"""The routes into the utun, and the scoped default routes of tunnels beside it.

Sockets of outbounds are bound to an interface. For them xnu takes the longest match if that uses
the interface, which a route into the utun prevents; then routes that are scoped to the interface,
and then the unscoped default if that uses it (net/route.c:3264-3390). A tunnel with nothing but
split routes has none of these: it gets a scoped default, recorded before it is made, for that
outlives the utun.

Always true: nothing is deleted but what a dump has just shown to be a route by our utun, and
nothing is changed in place (see route_requests). Which routes are wanted is computed anew from the
other programs' routes at each reconciliation.

Must not know: rules, flows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final, TypeVar

from router.platform.base.errors import PlatformError
from router.platform.base.routes import ReconcileResult
from router.platform.darwin.constants import RTF_IFSCOPE
from router.platform.darwin.entries import scoped_default_entry
from router.platform.darwin.kernel import RoutingKernel
from router.platform.darwin.route_messages import RouteMessage
from router.platform.darwin.route_plan import WIDTH, Plan, plan_routes
from router.platform.darwin.routing_socket import RoutingSocket, Target
from router.platform.darwin.sockaddr import Link
from router.platform.darwin.state import (
    default_holder,
    is_made_by_hand,
    read_interfaces,
    read_routes,
    target_of,
)
from router.platform.privileged.undoable import Entry
from router.platform.reason import reason
from router.policy.network import Interface
from router.policy.prefixes import format_prefix
from router.policy.routes.route import Route

log = logging.getLogger(__name__)

T = TypeVar("T")

TRIES: Final = 3
"""Another program may add a route between a dump and the addition of ours."""


class DarwinRoutes:
    """See RouteInstaller. Requests are carried out at once, which takes microseconds a route.

    utun: the router's own, with its MTU and addresses. record: called with a change before it is
    made; raises OSError where it cannot be recorded, and then it is not made.
    """

    def __init__(
        self,
        kernel: RoutingKernel,
        utun: Link,
        mtu: int,
        addresses: Sequence[IPv4Interface | IPv6Interface],
        record: Callable[[Entry], None],
    ) -> None:
        """Raises OSError."""
        self._kernel = kernel
        self._utun = utun
        self._own = {
            Target(4, int(each.ip), WIDTH[4], is_host=True): mtu
            for each in addresses
            if each.version == 4
        }
        self._record = record
        self._socket = RoutingSocket(kernel.route_socket())
        self.close = self._socket.close

    def begin_adding(self, routes: Sequence[Route]) -> Callable[[], None]:
        for failed in self._install(routes).failed:
            log.warning("not everything is captured: %s", failed)
        return lambda: None

    def reconcile(self, routes: Sequence[Route]) -> ReconcileResult:
        """A utun cannot lose what it was made with but by its end, so its routes are all there is
        to restore."""
        if read_interfaces(self._kernel).get(self._utun.name) is None:
            raise PlatformError(f"{self._utun.name} is gone: another program has removed it")
        return self._install(routes)

    def request_reconcile(
        self, routes: Sequence[Route], done: Callable[[ReconcileResult | PlatformError], None]
    ) -> None:
        done(_outcome(lambda: self.reconcile(routes)))

    def prepare_interface(self, interface: Interface) -> bool:
        """Give a tunnel the scoped defaults that it lacks."""
        lacking = [version for version in WIDTH if self._lacks_default(version, interface)]
        try:
            added = [self._add_default(version, interface) for version in lacking]
        except OSError as error:
            raise PlatformError(
                f"{interface.name} gets no scoped default route: {reason(error)}: add it (sudo "
                f"route -n add default -interface {interface.name} -ifscope {interface.name})"
            ) from error
        return any(added)

    def request_prepare_interface(
        self, interface: Interface, done: Callable[[bool | PlatformError], None]
    ) -> None:
        done(_outcome(lambda: self.prepare_interface(interface)))

    def _install(self, routes: Sequence[Route]) -> ReconcileResult:
        """Add what is missing, delete what is ours and not wanted. Raises PlatformError."""
        result = ReconcileResult.nothing()
        for version in WIDTH:
            wanted = [each for each in routes if each.version == version]
            try:
                self._install_family(version, wanted, result)
            except OSError as error:
                raise PlatformError(
                    f"routes of IPv{version} by {self._utun.name} are refused: {reason(error)}"
                ) from error
        return result

    def _install_family(
        self, version: int, wanted: Sequence[Route], result: ReconcileResult
    ) -> None:
        """What is missing is added before what is unwanted is deleted, so that nothing that both
        cover is without a route in between. Raises OSError."""
        for _ in range(TRIES):
            plan, present = self._planned(version, wanted)
            missing = [each for each in plan.routes if present.get(each) != plan.routes[each]]
            for each in missing:
                if each in present:  # with another MTU
                    self._socket.delete(each)
            refused = [each for each in missing if not self._add(each, plan.routes[each])]
            result.restored.extend(_prefix(each) for each in missing if each not in refused)
            if not refused:
                break
        else:
            result.failed.extend(f"{_prefix(each)} (another program has it)" for each in refused)
        for each in present.keys() - plan.routes.keys():
            self._socket.delete(each)
        result.failed.extend(
            f"{_prefix(each)} (another program has a host route)" for each in plan.lost
        )

    def _planned(self, version: int, wanted: Sequence[Route]) -> tuple[Plan, Mapping[Target, int]]:
        """The plan, and what there is of it, each with its MTU."""
        present: dict[Target, int] = {}
        others: set[Target] = set()
        for route in read_routes(self._kernel, version):
            if route.flags & RTF_IFSCOPE:
                continue
            if is_made_by_hand(route, self._utun.number):
                present[target_of(route)] = route.mtu
            else:
                others.add(target_of(route))
        plan = plan_routes(wanted, others)
        own = {each: mtu for each, mtu in self._own.items() if each.version == version}
        plan.routes.update({each: mtu for each, mtu in own.items() if each not in others})
        return plan, present

    def _add(self, route: Target, mtu: int) -> bool:
        return self._socket.add(route, self._utun, mtu)

    def _lacks_default(self, version: int, interface: Interface) -> bool:
        """A link with neighbours would need a gateway, which only its own configuration knows."""
        if interface.asks_neighbours or interface.source(version) is None:
            return False
        routes = read_routes(self._kernel, version)
        index = interface.index
        return default_holder(routes, 0) != index and not _has_scoped_default(routes, index)

    def _add_default(self, version: int, interface: Interface) -> bool:
        """Raises OSError."""
        link = Link(interface.index, interface.name)
        self._record(scoped_default_entry(version, link))
        return self._socket.add(Target(version, 0, 0, scope=link.number), link)


def _has_scoped_default(routes: Collection[RouteMessage], index: int) -> bool:
    return any(target_of(each)[1:] == (0, 0, False, index) for each in routes)


def _outcome(call: Callable[[], T]) -> T | PlatformError:
    try:
        return call()
    except PlatformError as error:
        return error


def _prefix(route: Target) -> str:
    return format_prefix(route.version, route.first, route.length)
