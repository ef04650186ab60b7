"""Linux, put together: see router.platform.base.System.

What needs no privileges is done here, the rest by the guard.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import resource
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any, Final, TypeVar

from router.platform.account import become
from router.platform.base.errors import PlatformError
from router.platform.base.facts import Interfaces, NetworkPath
from router.platform.base.routes import ReconcileResult
from router.platform.base.tcp import TcpSockets
from router.platform.base.tun import TunDevice
from router.platform.linux.changes import LinuxChanges
from router.platform.linux.datagrams import LinuxDatagramSocket, udp_socket
from router.platform.linux.interfaces import LinuxInterfaces
from router.platform.linux.journal import SUFFIX
from router.platform.linux.poller import LinuxPoller
from router.platform.linux.present import present_network
from router.platform.linux.reread import Output
from router.platform.linux.reserve import Reserve
from router.platform.linux.runtime import runtime_directory
from router.platform.linux.sockets import bind_to_device, path
from router.platform.linux.tcp import LinuxTcpSockets
from router.platform.linux.tun import LinuxTun
from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient
from router.policy.capture import Route
from router.policy.network import Endpoint, Interface, Network

log = logging.getLogger(__name__)

PR_SET_NO_NEW_PRIVS: Final = 38
GUARD: Final = "router.platform.linux.guard"

T = TypeVar("T")


class LinuxSystem:
    """See System.

    rereading: see System.read_anew.
    offloads: whether the TUN may leave checksums and segmentation to us, and bytes may be spliced.
    Without, everything works the same, slower, as on a system that knows of neither.
    """

    def __init__(self, reread: Sequence[str], *, offloads: bool = True) -> None:
        self._guard = GuardClient(GUARD, reread)
        self._offloads = offloads
        self._journal: Path | None = None
        self._routes: Sequence[Route] = ()
        self._udp = {version: Reserve(self._guard, version) for version in (4, 6)}
        self.interfaces: Interfaces = LinuxInterfaces()
        self.streams: TcpSockets = LinuxTcpSockets(self._guard, splicing=offloads)

    def drop_privileges(self, user: str) -> None:
        become(user)
        _forbid_new_privileges()
        _demand_binding(user)

    def open_tun(
        self, name: str | None, mtu: int, addresses: Sequence[IPv4Interface | IPv6Interface]
    ) -> TunDevice:
        (tun, leftovers), descriptors = self._guard.call(
            "open_tun",
            name=name,
            mtu=mtu,
            addresses=[str(address) for address in addresses],
            offloads=self._offloads,
        )
        self._journal = runtime_directory() / (tun["name"] + SUFFIX)
        for words, why in leftovers:
            if why is None:
                log.warning(
                    "undone what a run had left whose guard and undoer were killed: %s", words
                )
            else:
                log.warning("what a run has left could not be undone: %s: %s", words, why)
        if not descriptors:
            raise PlatformError("no descriptor is left for the TUN device: raise `ulimit -n`")
        return LinuxTun(descriptors[0], mtu=mtu, **tun)

    def add_routes(self, routes: Sequence[Route]) -> None:
        self._guard.call("add_routes", routes=routes)
        self._routes = routes

    def reconcile(self, routes: Sequence[Route]) -> ReconcileResult:
        known, self._routes = routes is self._routes, ()
        kept = ReconcileResult(
            *self._guard.call("reconcile", routes=None if known else routes).value
        )
        self._routes = routes
        return kept

    def request_reconcile(
        self, routes: Sequence[Route], told: Callable[[ReconcileResult | PlatformError], None]
    ) -> None:
        known, self._routes = routes is self._routes, routes
        self._guard.request("reconcile", _answered(told, _kept), routes=None if known else routes)

    def prepare_interface(self, interface: Interface) -> bool:
        done: bool = self._guard.call("prepare_interface", **_way_out(interface)).value
        return done

    def request_prepare_interface(
        self, interface: Interface, told: Callable[[bool | PlatformError], None]
    ) -> None:
        self._guard.request("prepare_interface", _answered(told, bool), **_way_out(interface))

    def raw_socket(self, version: int, interface: Interface) -> socket.socket:
        return self._guard.open_socket("raw_socket", version=version, name=interface.name)

    def icmp_socket(self, version: int, interface: Interface, echo_ids: range) -> socket.socket:
        return self._guard.open_socket(
            "icmp_socket",
            version=version,
            name=interface.name,
            first_id=echo_ids.start,
            after_last=echo_ids.stop,
        )

    def path(self, version: int, interface: Interface, address: str) -> NetworkPath:
        return path(version, interface, address)

    def network(self) -> Network:
        return present_network(endpoints=False)

    def raise_descriptor_limit(self) -> int:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return most

    def open_descriptors(self) -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    def udp_socket(self, version: int, interface: Interface, port: int) -> LinuxDatagramSocket:
        return udp_socket(self._udp[version].take(), version, interface, port)

    def endpoints(self) -> Sequence[Endpoint]:
        return _endpoints(self._guard.call("endpoints").value)

    def request_endpoints(self, told: Callable[[Sequence[Endpoint] | PlatformError], None]) -> None:
        self._guard.request("endpoints", _answered(told, _endpoints))

    def control_socket(self) -> socket.socket:
        return self._guard.open_socket("control_socket")

    def watch(self) -> LinuxChanges:
        return LinuxChanges()

    def poller(self) -> LinuxPoller:
        return LinuxPoller()

    def start_reread(self) -> Output:
        (output,) = self._guard.call("start_reread").descriptors
        return Output(output)

    def guard(self) -> GuardClient:
        return self._guard

    def close(self) -> None:
        for reserve in self._udp.values():
            reserve.close()
        self._guard.close(self._journal)


def _answered(
    told: Callable[[T | PlatformError], None], read: Callable[[Any], T]
) -> Callable[[Message | Exception], None]:
    """For Guard.ask_later: tells what `read` makes of an answer, or why there is none."""

    def answered(answer: Message | Exception) -> None:
        if isinstance(answer, Message):
            told(read(answer.value))
        else:
            told(PlatformError(str(answer)))

    return answered


def _endpoints(value: Any) -> Sequence[Endpoint]:
    return tuple(Endpoint(*each) for each in value)


def _kept(value: Any) -> ReconcileResult:
    return ReconcileResult(*value)


def _way_out(interface: Interface) -> dict[str, Any]:
    """How the guard is told of one."""
    routed = interface.source(6) is not None
    return {"name": interface.name, "index": interface.index, "routed": routed}


def _forbid_new_privileges() -> None:
    """Whatever the router may be made to execute gets no rights by it (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise PlatformError(f"prctl(PR_SET_NO_NEW_PRIVS): {os.strerror(ctypes.get_errno())}")


def _demand_binding(user: str) -> None:
    """That a program without privileges can bind a socket to an interface. Raises PlatformError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            bind_to_device(sock, "lo")
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
            raise PlatformError(
                f"this kernel lets only root bind sockets to an interface, and {user} is not: "
                "write 'user: root' into the rules, or use Linux 5.7 or later"
            ) from error
