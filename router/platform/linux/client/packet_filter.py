"""The host's packet filter and IPsec policies, read by the guard."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from router.platform.base.errors import PlatformError
from router.platform.base.packet_filter import TrackedRequest
from router.platform.linux.host_rules.watch import HostRuleChanges
from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient, value_callback
from router.policy.host_rules.model import DirectOutput, HostRules
from router.wire import ip
from router.wire.headers import ICMP_HEADER


class LinuxPacketFilter:
    """See PacketFilter."""

    def __init__(self, guard: GuardClient) -> None:
        self._guard = guard

    def host_rules(self, outputs: Sequence[DirectOutput]) -> HostRules:
        return _from_json(self._guard.call("host_rules", outputs=_as_json(outputs)).value)

    def request_host_rules(
        self, outputs: Sequence[DirectOutput], done: Callable[[HostRules | PlatformError], None]
    ) -> None:
        self._guard.request(
            "host_rules", value_callback(done, _from_json), outputs=_as_json(outputs)
        )

    def request_has_unreported(self, done: Callable[[bool | PlatformError], None]) -> None:
        self._guard.request("has_unreported_rules", value_callback(done, bool))

    def request_of(self, packet: ip.Packet, done: Callable[[TrackedRequest | None], None]) -> None:
        def answered(reply: Message | Exception) -> None:
            is_translated = reply.value if isinstance(reply, Message) else None
            done(None if is_translated is None else TrackedRequest(is_translated))

        self._guard.request_unless_late(
            "request_of",
            answered,
            version=packet.version,
            protocol=packet.protocol,
            source=packet.source.hex(),
            destination=packet.destination.hex(),
            start=bytes(packet.body[:ICMP_HEADER]).hex(),
        )

    def watch_host_rules(self) -> HostRuleChanges:
        number, descriptors, _ = self._guard.call("watch_host_rules")
        sockets = [socket.socket(fileno=each) for each in descriptors]
        if len(sockets) < number:  # the kernel drops those that this process has no room for
            for sock in sockets:
                sock.close()
            raise PlatformError("no descriptor is left for a socket: raise `ulimit -n`")
        return HostRuleChanges(sockets)


def _from_json(value: Any) -> HostRules:
    obstacles, translates_requests, path_checks, *others = value
    return HostRules(obstacles, translates_requests, dict(path_checks), *others)


def _as_json(outputs: Sequence[DirectOutput]) -> list[Any]:
    return [
        [output.interface, output.index, [str(source) for source in output.sources], output.tun]
        for output in outputs
    ]
