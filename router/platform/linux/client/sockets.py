"""Sockets by the guard: raw ones need privileges, and UDP sockets larger buffers."""

from __future__ import annotations

import socket

from router.platform.linux.client.udp_pool import UdpPool
from router.platform.linux.datagrams import LinuxDatagramSocket, udp_socket
from router.platform.linux.sockets import bind_to_source
from router.platform.privileged.client import GuardClient
from router.policy.network import Interface


class LinuxSockets:
    """See Sockets."""

    def __init__(self, guard: GuardClient) -> None:
        self._guard = guard
        self._udp = {version: UdpPool(guard, version) for version in (4, 6)}

    def icmp_socket(self, version: int, interface: Interface, echo_ids: range) -> socket.socket:
        sock = self._guard.open_socket(
            "icmp_socket",
            version=version,
            name=interface.name,
            first_id=echo_ids.start,
            after_last=echo_ids.stop,
        )
        try:
            bind_to_source(sock, version, interface)
        except OSError:
            sock.close()
            raise
        return sock

    def udp_socket(self, version: int, interface: Interface, port: int) -> LinuxDatagramSocket:
        return udp_socket(self._udp[version].take(), version, interface, port)

    def raw_socket(self, version: int, interface: Interface) -> socket.socket:
        return self._guard.open_socket("raw_socket", version=version, name=interface.name)

    def close(self) -> None:
        """Those that are still unused."""
        for pool in self._udp.values():
            pool.close()
