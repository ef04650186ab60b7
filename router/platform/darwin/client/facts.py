"""Facts, all but the endpoints of tunnels read without privileges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from router.platform.base.connections import Connection
from router.platform.base.errors import PlatformError
from router.platform.base.facts import NetworkPath
from router.platform.darwin.absent import NoChanges
from router.platform.darwin.changes import DarwinChanges, Sleep
from router.platform.darwin.kernel import RoutingKernel
from router.platform.darwin.path import path
from router.platform.darwin.runtime import RUNTIME, own_tuns
from router.platform.darwin.ways import DarwinWays
from router.platform.privileged.client import GuardClient, value_callback
from router.platform.privileged.runtime import RuntimeDirectory
from router.policy.network import Endpoint, Interface, SourceRange


class DarwinFacts:
    """See Facts."""

    def __init__(
        self, guard: GuardClient, kernel: RoutingKernel, runtime: RuntimeDirectory = RUNTIME
    ) -> None:
        self._guard = guard
        self._kernel = kernel
        self._runtime = runtime

    def ways(self, present: Mapping[str, Interface], apart_from: str) -> DarwinWays:
        return DarwinWays(
            self._kernel, present.values(), own_tuns(present, self._runtime) | {apart_from}
        )

    def path(self, version: int, interface: Interface, address: str) -> NetworkPath:
        return path(self._kernel, version, interface.index, int(ip_address(address)))

    def forget_sources(self) -> None:
        """None are remembered."""

    def sources(self, version: int, interface: Interface) -> Sequence[SourceRange]:
        """Not known: packets of outbounds get theirs from the kernel, and no route into the utun
        has one."""
        del version, interface
        return ()

    def endpoints(self) -> Sequence[Endpoint]:
        return _endpoints(self._guard.call("endpoints").value)

    def request_endpoints(self, done: Callable[[Sequence[Endpoint] | PlatformError], None]) -> None:
        self._guard.request("endpoints", value_callback(done, _endpoints))

    def connections(self, version: int, protocol: int) -> Iterator[Sequence[Connection]]:
        """None: the router has all flows itself, as no packet passes it by."""
        del version, protocol
        return iter(())

    def watch(self) -> DarwinChanges:
        return DarwinChanges(self._kernel, Sleep())

    def watch_neighbours(self) -> NoChanges:
        return NoChanges()


def _endpoints(value: Any) -> Sequence[Endpoint]:
    return tuple(Endpoint(*each) for each in value)
