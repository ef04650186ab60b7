"""What interfaces of other programs need, and what only root can read of them."""

from __future__ import annotations

from router.platform.base.errors import PlatformError
from router.platform.endpoints import EndpointMemory
from router.platform.linux.netlink.neighbours import resolve
from router.platform.linux.operations.interface_argument import check_interface
from router.platform.linux.operations.tun import TunOperations
from router.platform.linux.prepared_interface import give_default_route, loosen_rp_filter
from router.platform.linux.present import present_endpoints
from router.platform.privileged.arguments import MOST_INDEX, check_number
from router.platform.privileged.channel import Message
from router.platform.reason import reason


class InterfaceOperations:
    """Beside the TUN."""

    def __init__(self, tun: TunOperations) -> None:
        self._tun = tun
        self._endpoints = EndpointMemory()

    def prepare_interface(self, name: str, index: int, *, routed: bool) -> Message:
        """See RouteInstaller.prepare_interface. `routed`: whether IPv6 packets need a route."""
        check_interface(name, index)
        undoer = self._tun.opened_undoer()
        try:
            changed = loosen_rp_filter(name, undoer)
            if routed:
                changed |= give_default_route(name, index, self._tun.index, undoer)
        except OSError as error:
            raise PlatformError(f"{name} cannot be prepared: {reason(error)}") from error
        return Message(changed)

    def resolve_neighbour(self, interface: int, neighbour: str) -> Message:
        """See FrameSocket.send_when_resolved; the address in hexadecimal."""
        address = bytes.fromhex(neighbour)
        check_number(len(address), 4, 16)
        resolve(check_number(interface, 1, MOST_INDEX), address)
        return Message(None)

    def endpoints(self) -> Message:
        """See Facts.endpoints."""
        return Message(present_endpoints(self._endpoints))
