"""A SOCKS5 proxy as an outbound: what it is, and what it carries.

Always true: user name and password are in no text.

Must not know: rules, which flows there are.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Final

from router.config.model import Proxy
from router.outbound.base import (
    DatagramChannel,
    Dial,
    DialRequest,
    ManagedOutbound,
    ObstacleOf,
    QueryChannel,
)
from router.outbound.direct import DirectSender
from router.outbound.socks5.addresses import ProxyAddresses
from router.outbound.socks5.conversation import Conversation, Unreached
from router.outbound.socks5.datagrams import Socks5Datagrams
from router.outbound.socks5.dial import Socks5Dial
from router.outbound.socks5.early import EarlySuccess
from router.outbound.socks5.failures import OUR_LACK
from router.outbound.socks5.found import Found
from router.outbound.socks5.probing import Probing
from router.outbound.socks5.ready import ReadyConnections
from router.outbound.socks5.tools import Tools
from router.outbound.socks5.way import ProxyWay, version_of
from router.platform.base.facts import NetworkPath
from router.policy.interfaces import OutboundFacts
from router.policy.network import Interface
from router.policy.prefixes import FAMILIES
from router.policy.proxies import ProxyLack, overhead
from router.wire import ip, socks5
from router.wire.socks5 import Command, Dialogue, Fault

OBSTACLE: Final = "a proxy carries connections and datagrams, not packets"


class Socks5Outbound:
    """See ManagedOutbound."""

    def __init__(self, proxy: Proxy, way: ProxyWay, tools: Tools) -> None:
        self._proxy = proxy
        self._way = way
        self._tools = tools
        self.count = tools.count
        self._addresses = ProxyAddresses(proxy, tools.names)
        self._probing = Probing(self, self._addresses, tools.loop, tools.changed)
        self._found = Found(proxy, tools.loop)
        self._early = EarlySuccess(self.talk, self._found, tools.loop, tools.descriptors)
        self.on_empty_end = self._early.decide
        self.suspect = self._probing.suspect
        self.unreached = self._probing.unreached
        self.fail = self._probing.fail
        self.left_unanswered = self._probing.left_unanswered
        self.has_refused = self._found.has_refused
        self._ready = ReadyConnections(
            *(lambda changed: self.talk(b"", changed), tools.loop, tools.descriptors),
            self._probing.suspect,
        )
        self._is_started = False
        self._present: tuple[bool, Mapping[bytes, Hashable]] = (False, {})

    # What it is

    @property
    def up(self) -> bool:
        return self._probing.fault is None and self.server is not None

    @property
    def via(self) -> ManagedOutbound | None:
        """The outbound that the proxy is reached by; None: the system's own routes."""
        return self._way.outbound

    @property
    def server(self) -> bytes | None:
        """The proxy's address to begin with, of those that there is a way to."""
        return next(filter(self._way.reaches, self._addresses.all), None)

    @property
    def servers(self) -> list[tuple[bytes, int]]:
        """Addresses and port of the proxy."""
        return [(address, self._proxy.port) for address in self._addresses.all]

    @property
    def facts(self) -> OutboundFacts | None:
        server = self.server if self._probing.fault is None else None
        if server is None:
            return None
        try:
            mtu = self._way.path(server).mtu
        except OSError:
            return None
        name = self._way.leaves_by(server)
        least = mtu - max(overhead(version_of(server), version) for version in FAMILIES)
        return OutboundFacts(least, () if name is None else (name,))

    @property
    def leaves_by(self) -> str | None:
        server = self.server if self.up else None
        return None if server is None else self._way.leaves_by(server)

    def describe(self) -> str:
        """`proxy 192.0.2.1:1080 by eth0`."""
        server = self.server or b""
        return f"proxy {self._named(server)} by {self._way.leaves_by(server)}"

    def why_down(self) -> str:
        if not self._addresses.all:
            return self._addresses.fault
        if self.server is None:
            return f"proxy {self._proxy}: {self._way.lacks()}"
        return f"proxy {self._proxy}: {self._probing.fault}"

    def _named(self, server: bytes) -> str:
        address = self._proxy.address
        return str(self._proxy) if address else f"{self._proxy} ({ip.format_address(server)})"

    def owns(self, address: bytes) -> bool:
        """The unspecified address stands for the one that the proxy sends from."""
        return not any(address)

    def sends_from(self, address: bytes) -> bool:  # noqa: ARG002 - all of it is translated
        return False

    def sender(self, version: int) -> DirectSender | None:  # noqa: ARG002
        return None

    def obstacle(self, of_interface: ObstacleOf) -> str | None:  # noqa: ARG002
        return OBSTACLE

    # What it carries

    def reaches(self, version: int) -> bool:  # noqa: ARG002 - which the proxy decides
        return self.up

    def carries(self, version: int, protocol: int) -> bool:  # noqa: ARG002
        return protocol == ip.TCP or (protocol == ip.UDP and self.offers_udp)

    def dial(self, request: DialRequest, changed: Callable[[int], None]) -> Dial:
        if self._found.refuses(request.version):
            raise OSError(errno.ENETUNREACH, "the proxy refuses destinations of this family")
        asked = socks5.request(Command.CONNECT, request.destination, request.port)

        def open_one() -> Conversation:
            return self.talk(asked, changed, request.traffic_class)

        ready = None if request.traffic_class else self._ready.take()
        if ready is not None:
            self._ready.want()
            ready.ask(asked, changed)
            if ready.outcome is not Fault.ENDED:
                again = None if self._probing.has_ended else open_one
                return Socks5Dial(ready, self, request.version, again=again)
            ready.abandon()
        conversation = open_one()
        if isinstance(conversation.outcome, Unreached):
            error = conversation.outcome.error
            self.unreached(error)
            raise OSError(error if error in OUR_LACK else errno.ETIMEDOUT, "")
        self._probing.watch(conversation)
        return Socks5Dial(conversation, self, request.version, succeeded=self._ready.want)

    def open_datagrams(self, version: int, source: bytes, ports: Iterator[int]) -> DatagramChannel:
        server = self.server
        if server is None:
            raise OSError(errno.ENETUNREACH, "there is no way to the proxy")
        source = self._way.source(server)
        channel = self._way.open_datagrams(server, source, ports)
        return Socks5Datagrams(version, server, source, channel, self)

    def queries(self, version: int) -> QueryChannel | None:  # noqa: ARG002
        return None

    def path(self, version: int, address: str) -> NetworkPath:  # noqa: ARG002
        server = self.server
        if server is None:
            return NetworkPath(ip.IPV6_MIN_MTU, None)
        return NetworkPath(self._way.path(server).mtu - overhead(version_of(server), version), None)

    def has_lost(self, sock: socket.socket) -> bool:
        return self._way.has_lost(sock)

    def has_lost_address(self, address: bytes) -> bool:  # noqa: ARG002 - it has none
        return False

    # What its connections find out

    def ask(
        self, changed: Callable[[int], None], unanswered: Callable[[Conversation], None]
    ) -> Conversation | None:
        """See association.Proxy. The destination in the request is unspecified: what an application
        sends to is not where it sends from (RFC 1928, section 4)."""
        if not self._tools.descriptors.take(1):
            return None
        server = self.server or bytes(4)
        asked = socks5.request(Command.UDP_ASSOCIATE, bytes(len(server)), 0)
        conversation = self.talk(asked, changed, servers=[server])
        self._probing.watch(conversation, unanswered)
        return conversation

    def ended(self, conversation: Conversation) -> None:
        conversation.abandon()
        self._tools.descriptors.give_back(1)

    def has_lost_source(self, source: bytes) -> bool:
        return any(source) and self._way.has_lost_address(source)

    def report(self, channel: DatagramChannel) -> None:
        self._tools.loop.report_readable(channel)

    @property
    def offers_udp(self) -> bool:
        return self._proxy.udp and not self._found.lacks(ProxyLack.UDP)

    def has_no_udp(self) -> None:
        self._found.add(ProxyLack.UDP)

    def talk(
        self,
        request: bytes,
        changed: Callable[[int], None],
        traffic_class: int = 0,
        servers: list[bytes] | None = None,
    ) -> Conversation:
        dialogue = Dialogue(self._proxy.credentials, request)
        reached = filter(self._way.reaches, servers or self._addresses.all)
        return Conversation(
            self._way.dial, reached, self._proxy.port, dialogue, changed, traffic_class
        )

    # Following the system

    def refresh(self, present: Mapping[str, Interface]) -> frozenset[int] | None:  # noqa: ARG002
        """Flows whose sockets lead to the proxy by something else than now are lost."""
        if not self._is_started:
            self._is_started = True
            self._probing.begin()
        before, self._present = self._present, self._ways()
        if before == self._present:
            self._ready.drop_lost(self._way.has_lost)
            return None
        self._ready.drop_all()
        lost = any(
            way is not None and way != self._present[1].get(address)
            for address, way in before[1].items()
        )
        return frozenset(FAMILIES) if lost else frozenset()

    def _ways(self) -> tuple[bool, Mapping[bytes, Hashable]]:
        ways = {address: self._way.present(address) for address in self._addresses.all}
        return self.up, ways

    @property
    def found(self) -> Sequence[str]:
        return self._found.all

    def close(self) -> None:
        self._early.close()
        self._probing.close()
        self._ready.drop_all()
