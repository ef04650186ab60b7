"""Sockets by the guard: raw ones need privileges, and UDP sockets larger buffers."""

from __future__ import annotations

import socket

from router.platform.base.sockets import Done, FrameSocket
from router.platform.linux.client.udp_pool import UdpPool
from router.platform.linux.datagrams import LinuxDatagramSocket, udp_socket
from router.platform.linux.frame_socket import ETHERTYPE, LinuxFrameSocket, link_of
from router.platform.linux.sockets import bind_to_source
from router.platform.privileged.client import GuardClient, socket_callback
from router.policy.network import Interface


class LinuxSockets:
    """See Sockets."""

    reports_errors = True

    def __init__(self, guard: GuardClient) -> None:
        self._guard = guard
        self._udp = {version: UdpPool(guard, version) for version in (4, 6)}

    def icmp_socket(self, version: int, interface: Interface, echo_ids: range) -> socket.socket:
        sock = self._guard.open_socket(
            "icmp_socket",
            version=version,
            name=interface.name,
            index=interface.index,
            first_id=echo_ids.start,
            after_last=echo_ids.stop,
        )
        try:
            bind_to_source(sock, version, interface)
        except OSError:
            sock.close()
            raise
        return sock

    def udp_socket(
        self, version: int, interface: Interface, source: bytes, port: int
    ) -> LinuxDatagramSocket:
        return udp_socket(self._udp[version].take(), version, interface, source, port)

    def raw_socket(
        self, version: int, interface: Interface, address: str, done: Done[socket.socket]
    ) -> None:
        self._guard.request_unless_late(
            "raw_socket",
            socket_callback(done),
            version=version,
            name=interface.name,
            index=interface.index,
            address=address,
        )

    def frame_socket(
        self, version: int, interface: Interface, source: bytes, done: Done[FrameSocket | None]
    ) -> None:
        link = link_of(interface.name)
        if link is None:
            done(None)
            return

        def opened(sock: socket.socket | Exception) -> None:
            if isinstance(sock, Exception):
                done(sock)
            else:
                done(LinuxFrameSocket(sock, version, interface.index, source, link, self._resolve))

        self._guard.request_unless_late(
            "frame_socket",
            socket_callback(opened),
            name=interface.name,
            index=interface.index,
            protocol=0 if link.has_header else ETHERTYPE[version],
        )

    def keep_ready(self) -> None:
        for pool in self._udp.values():
            pool.fill()

    def close(self) -> None:
        """Those that are still unused."""
        for pool in self._udp.values():
            pool.close()

    def _resolve(self, interface: int, neighbour: bytes) -> None:
        """Without waiting for it."""
        self._guard.request(
            *("resolve_neighbour", lambda _: None), interface=interface, neighbour=neighbour.hex()
        )
