"""Facts, most of them read without privileges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from router.platform.base.connections import Connection
from router.platform.base.errors import PlatformError
from router.platform.base.facts import NetworkPath
from router.platform.linux.changes import LinuxChanges
from router.platform.linux.connections import connections
from router.platform.linux.interfaces import LinuxInterfaces
from router.platform.linux.netlink.constants import RTMGRP_NEIGH
from router.platform.linux.own_tuns import own_tuns
from router.platform.linux.route_sources import route_sources
from router.platform.linux.sockets import path
from router.platform.linux.ways import LinuxWays
from router.platform.privileged.client import GuardClient, value_callback
from router.policy.network import Endpoint, Interface, SourceRange


class LinuxFacts:
    """See Facts."""

    def __init__(self, guard: GuardClient, interfaces: LinuxInterfaces) -> None:
        self._guard = guard
        self._interfaces = interfaces
        self._sources: dict[tuple[int, Interface], Sequence[SourceRange]] = {}
        self.forget_sources = self._sources.clear

    def ways(self, present: Mapping[str, Interface], apart_from: str) -> LinuxWays:
        return LinuxWays(present.values(), own_tuns() | {apart_from})

    def path(self, version: int, interface: Interface, address: str) -> NetworkPath:
        return path(version, interface, address)

    def sources(self, version: int, interface: Interface) -> Sequence[SourceRange]:
        """Asking takes time where other programs have very many routes, so it is done once."""
        found = self._sources.get((version, interface))
        if found is None:
            found = self._sources[version, interface] = route_sources(version, interface)
        return found

    def endpoints(self) -> Sequence[Endpoint]:
        return _endpoints(self._guard.call("endpoints").value)

    def request_endpoints(self, done: Callable[[Sequence[Endpoint] | PlatformError], None]) -> None:
        self._guard.request("endpoints", value_callback(done, _endpoints))

    def connections(self, version: int, protocol: int) -> Iterator[Sequence[Connection]]:
        return connections(version, protocol)

    def watch(self) -> LinuxChanges:
        return LinuxChanges(self._interfaces.forget)

    def watch_neighbours(self) -> LinuxChanges:
        return LinuxChanges(lambda: None, RTMGRP_NEIGH)


def _endpoints(value: Any) -> Sequence[Endpoint]:
    return tuple(Endpoint(*each) for each in value)
