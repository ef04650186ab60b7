"""Sockets that only root can open, handed over to the router."""

from __future__ import annotations

import socket
from typing import Final

from router.platform.families import FAMILY
from router.platform.linux.datagrams import BUFFER
from router.platform.linux.frame_socket import ETHERTYPE
from router.platform.linux.operations.interface_argument import check_interface
from router.platform.linux.operations.tun import TunOperations
from router.platform.linux.runtime import RUNTIME
from router.platform.linux.sockets import enlarge_buffers, frame_socket, icmp_socket, raw_socket
from router.platform.linux.tcp import listening_socket
from router.platform.privileged.arguments import (
    check_address,
    check_number,
    check_version,
    invalid,
)
from router.platform.privileged.channel import MOST_DESCRIPTORS, Message
from router.platform.privileged.control_socket import control_socket
from router.platform.privileged.handed_over import handed_over

ECHO_IDS: Final = 1 << 16


class SocketOperations:
    """Of the router whose TUN is `tun`."""

    def __init__(self, tun: TunOperations) -> None:
        self._tun = tun

    def icmp_socket(
        self, version: int, name: str, index: int, first_id: int, after_last: int
    ) -> Message:
        check_interface(name, index)
        check_number(first_id, 0, check_number(after_last, 1, ECHO_IDS) - 1)
        echo_ids = range(first_id, after_last)
        return handed_over(icmp_socket(check_version(version), name, echo_ids))

    def raw_socket(self, version: int, name: str, index: int, address: str) -> Message:
        check_interface(name, index)
        source = check_address(address)
        if source.version != check_version(version):
            raise invalid(f"an IPv{version} address", address)
        return handed_over(raw_socket(version, name, str(source)))

    def frame_socket(self, name: str, index: int, protocol: int) -> Message:
        check_interface(name, index)
        if protocol not in (0, *ETHERTYPE.values()):
            raise invalid("the EtherType of an IP version", protocol)
        return handed_over(frame_socket(name, protocol))

    def listening_socket(self, address: str) -> Message:
        """At an address of the TUN."""
        wanted = check_address(address)
        if all(wanted != each.ip for each in self._tun.addresses):
            raise invalid(f"an address of {self._tun.name or 'a TUN'}", address)
        return handed_over(listening_socket(self._tun.name, self._tun.index, str(wanted)))

    def udp_sockets(self, version: int, number: int) -> Message:
        """Sockets with larger buffers than other users may have, not bound to anything yet."""
        family = FAMILY[check_version(version)]
        sockets = [
            socket.socket(family, socket.SOCK_DGRAM)
            for _ in range(check_number(number, 1, MOST_DESCRIPTORS))
        ]
        for sock in sockets:
            enlarge_buffers(sock, BUFFER)
        return handed_over(*sockets)

    def control_socket(self) -> Message:
        return handed_over(control_socket(RUNTIME, self._tun.name, self._tun.opened_undoer()))
