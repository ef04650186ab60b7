"""Sockets that only root can open, handed over to the router: raw ICMP ones and the control socket.

All others need no privileges on macOS, where IP_BOUND_IF is free to all (netinet/ip_output.c,
ip_ctloutput).
"""

from __future__ import annotations

from router.platform.darwin.icmp_socket import icmp_socket
from router.platform.darwin.operations.utun import UtunOperations
from router.platform.privileged.arguments import check_version
from router.platform.privileged.channel import Message
from router.platform.privileged.control_socket import control_socket
from router.platform.privileged.handed_over import handed_over
from router.platform.privileged.runtime import RuntimeDirectory


class SocketOperations:
    """Of the router whose utun is `utun`."""

    def __init__(self, utun: UtunOperations, runtime: RuntimeDirectory) -> None:
        self._utun = utun
        self._runtime = runtime

    def icmp_socket(self, version: int, name: str, index: int) -> Message:
        """See Sockets.icmp_socket. It hears what has come by any interface."""
        interface = self._utun.interface(name, index)
        return handed_over(icmp_socket(check_version(version), interface.index))

    def control_socket(self) -> Message:
        return handed_over(
            control_socket(self._runtime, self._utun.name, self._utun.opened_undoer())
        )
