"""Sockets that only root can open, handed over to the router."""

from __future__ import annotations

import socket

from router.platform.families import FAMILY
from router.platform.linux.control_socket import control_socket
from router.platform.linux.datagrams import BUFFER
from router.platform.linux.operations.tun import TunOperations
from router.platform.linux.sockets import enlarge_buffers, frame_socket, icmp_socket, raw_socket
from router.platform.linux.tcp import listening_socket
from router.platform.privileged.channel import Message


class SocketOperations:
    """Of the router whose TUN is `tun`."""

    def __init__(self, tun: TunOperations) -> None:
        self._tun = tun

    def icmp_socket(self, version: int, name: str, first_id: int, after_last: int) -> Message:
        return _handed_over(icmp_socket(version, name, range(first_id, after_last)))

    def raw_socket(self, version: int, name: str, address: str) -> Message:
        return _handed_over(raw_socket(version, name, address))

    def frame_socket(self, name: str, protocol: int) -> Message:
        return _handed_over(frame_socket(name, protocol))

    def listening_socket(self, address: str) -> Message:
        return _handed_over(listening_socket(self._tun.name, self._tun.index, address))

    def udp_sockets(self, version: int, number: int) -> Message:
        """Sockets with larger buffers than other users may have, not bound to anything yet."""
        sockets = [socket.socket(FAMILY[version], socket.SOCK_DGRAM) for _ in range(number)]
        for sock in sockets:
            enlarge_buffers(sock, BUFFER)
        return _handed_over(*sockets)

    def control_socket(self) -> Message:
        return _handed_over(control_socket(self._tun.name, self._tun.opened_undoer()))


def _handed_over(*sockets: socket.socket) -> Message:
    return Message(None, [sock.detach() for sock in sockets])
