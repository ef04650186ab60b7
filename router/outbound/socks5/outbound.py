"""A SOCKS5 proxy as an outbound: what it carries, and whether it is up.

Theory of operation. The proxy counts as up until a connection to it fails or it answers nonsense;
then it is probed, by a connection that ends with the login. It is down when that fails, or when it
has definitely refused, and probed again after FIRST_DELAY seconds, twice as many each time, at most
LAST_DELAY, until it answers. Before a probe its name is resolved again. While no connection fails,
nothing is sent.

Always true: one probe at most is under way; connections that exist are left alone, whatever a probe
finds; user name and password are in no text.

Must not know: rules, which flows there are.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Final, Protocol

from router.config.model import Proxy
from router.flows.drops import Drop
from router.outbound.base import (
    ChangeWatcher,
    DatagramChannel,
    Dial,
    DialRequest,
    ManagedOutbound,
    ObstacleOf,
    QueryChannel,
)
from router.outbound.descriptors import Descriptors
from router.outbound.direct import DirectSender
from router.outbound.socks5.addresses import Names, ProxyAddresses
from router.outbound.socks5.conversation import Conversation, Unreached
from router.outbound.socks5.datagrams import Socks5Datagrams
from router.outbound.socks5.dial import Socks5Dial
from router.outbound.socks5.failures import OUR_LACK, is_definite
from router.outbound.socks5.way import ProxyWay, version_of
from router.platform.base.descriptors import HasFileno
from router.platform.base.facts import NetworkPath
from router.policy.interfaces import OutboundFacts
from router.policy.network import Interface
from router.policy.prefixes import FAMILIES
from router.policy.proxies import overhead
from router.wire import ip, socks5
from router.wire.socks5 import Command, Dialogue, Fault, LoggedIn

log = logging.getLogger(__name__)

PATIENCE: Final = 10.0
"""Seconds that a probe may take, and a connection may be without an answer to its greeting."""
FIRST_DELAY: Final = 1.0
LAST_DELAY: Final = 60.0
NO_UDP: Final = 60.0
"""Seconds for which a proxy that has refused UDP ASSOCIATE is not asked again."""
NO_ANSWER: Final = "no answer"
OBSTACLE: Final = "a proxy carries connections and datagrams, not packets"


class Loop(ChangeWatcher, Protocol):
    """The part of the event loop that a proxy needs; see router.engine.loop."""

    now: float

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...

    def report_readable(self, source: HasFileno) -> None: ...


class Tools:
    """What all proxies use. count: counts a packet that is dropped. changed: called when one has
    gone up or down. names: resolves host names."""

    def __init__(
        self,
        loop: Loop,
        descriptors: Descriptors,
        count: Callable[[Drop], None],
        changed: Callable[[], None],
        names: Names,
    ) -> None:
        self.loop = loop
        self.descriptors = descriptors
        self.count = count
        self.changed = changed
        self.names = names


class Socks5Outbound:
    """See ManagedOutbound."""

    def __init__(self, proxy: Proxy, way: ProxyWay, tools: Tools) -> None:
        self._proxy = proxy
        self._way = way
        self._tools = tools
        self.count = tools.count
        self._addresses = ProxyAddresses(proxy, tools.names)
        self._fault: str | None = None
        self._delay = FIRST_DELAY
        self._probe: Conversation | None = None
        self._is_checking = self._is_closed = self._is_started = False
        self._no_udp_until = float("-inf")
        self._present: tuple[bool, Mapping[bytes, Hashable]] = (False, {})

    # What it is

    @property
    def up(self) -> bool:
        return self._fault is None and self._server is not None

    @property
    def via(self) -> ManagedOutbound | None:
        """The outbound that the proxy is reached by; None: the system's own routes."""
        return self._way.outbound

    @property
    def _server(self) -> bytes | None:
        """The proxy's address to begin with, of those that there is a way to."""
        return next(filter(self._way.reaches, self._addresses.all), None)

    @property
    def servers(self) -> list[tuple[bytes, int]]:
        """Addresses and port of the proxy."""
        return [(address, self._proxy.port) for address in self._addresses.all]

    @property
    def facts(self) -> OutboundFacts | None:
        server = self._server if self._fault is None else None
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
        server = self._server if self.up else None
        return None if server is None else self._way.leaves_by(server)

    def describe(self) -> str:
        """`proxy 192.0.2.1:1080 by eth0`."""
        server = self._server or b""
        return f"proxy {self._named(server)} by {self._way.leaves_by(server)}"

    def why_down(self) -> str:
        if not self._addresses.all:
            return self._addresses.fault
        if self._server is None:
            return f"proxy {self._proxy}: {self._way.lacks()}"
        return f"proxy {self._proxy}: {self._fault}"

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
        asked = socks5.request(Command.CONNECT, request.destination, request.port)
        conversation = self._talk(asked, changed, request.traffic_class)
        if isinstance(conversation.outcome, Unreached):
            error = conversation.outcome.error
            self.unreached(error)
            raise OSError(error if error in OUR_LACK else errno.ETIMEDOUT, "")
        self._tools.loop.call_later(PATIENCE, lambda: self._check(conversation))
        return Socks5Dial(conversation, self)

    def open_datagrams(self, version: int, source: bytes, ports: Iterator[int]) -> DatagramChannel:  # noqa: ARG002
        server = self._server
        if server is None:
            raise OSError(errno.ENETUNREACH, "there is no way to the proxy")
        return Socks5Datagrams(version, server, self._way.open_datagrams(server, ports), self)

    def queries(self, version: int) -> QueryChannel | None:  # noqa: ARG002
        return None

    def path(self, version: int, address: str) -> NetworkPath:  # noqa: ARG002
        server = self._server
        if server is None:
            return NetworkPath(ip.IPV6_MIN_MTU, None)
        return NetworkPath(self._way.path(server).mtu - overhead(version_of(server), version), None)

    def has_lost(self, sock: socket.socket) -> bool:
        return self._way.has_lost(sock)

    def has_lost_address(self, address: bytes) -> bool:  # noqa: ARG002 - it has none
        return False

    # What its connections find out

    def ask(self, changed: Callable[[int], None]) -> Conversation | None:
        """See association.Proxy. The destination in the request is unspecified: what an application
        sends to is not where it sends from (RFC 1928, section 4)."""
        if not self._tools.descriptors.take(1):
            return None
        server = self._server or bytes(4)
        asked = socks5.request(Command.UDP_ASSOCIATE, bytes(len(server)), 0)
        return self._talk(asked, changed, servers=[server])

    def ended(self, conversation: Conversation) -> None:
        conversation.abandon()
        self._tools.descriptors.give_back(1)

    def report(self, channel: DatagramChannel) -> None:
        self._tools.loop.report_readable(channel)

    @property
    def offers_udp(self) -> bool:
        return self._proxy.udp and self._tools.loop.now >= self._no_udp_until

    def has_no_udp(self) -> None:
        if self._no_udp_until == float("-inf"):
            log.warning(
                "proxy %s carries no UDP: it is refused, and the proxy asked again every %.0f s",
                *(self._proxy, NO_UDP),
            )
        self._no_udp_until = self._tools.loop.now + NO_UDP

    def suspect(self) -> None:
        """A connection to the proxy has failed, or has no answer: find out whether it is down."""
        if self._fault is None:
            self._begin_check()

    def unreached(self, error: int) -> None:
        """No address of the proxy accepts a connection, with the errno of the last. Where that is
        definite it is down at once, and probed at once: its name may have another address now."""
        if error in OUR_LACK:
            return
        self.suspect()
        if self._fault is None and is_definite(error):
            self._fault = _in_words(error)
            self._tools.changed()

    def fail(self, fault: Fault) -> None:
        """The proxy has answered, and not as it should."""
        if self._fault is None:
            self._go_down(fault.value)

    def _check(self, conversation: Conversation) -> None:
        if conversation.outcome is None and conversation.dial and not conversation.greeted:
            self.suspect()

    def _talk(
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

    # Probing

    def _begin_check(self) -> None:
        if not self._is_checking:
            self._is_checking = True
            self._addresses.resolve(self._resolved)

    def _resolved(self) -> None:
        if self._is_closed:
            return
        if self._server is None:
            self._end_check(self._addresses.fault if not self._addresses.all else None)
            return
        probe = self._probe = self._talk(b"", lambda _event: self._probed(probe))
        self._tools.loop.call_later(PATIENCE, lambda: self._give_up(probe))
        if probe.outcome is not None:
            self._probed(probe)

    def _probed(self, probe: Conversation) -> None:
        outcome = probe.outcome
        if outcome is None or probe is not self._probe:
            return
        self._probe = None
        probe.abandon()
        if outcome is LoggedIn.LOGGED_IN:
            self._addresses.worked(probe.address)
            self._end_check(None)
        elif isinstance(outcome, Unreached):
            self._end_check(_in_words(outcome.error))
        elif isinstance(outcome, Fault):
            self._end_check(outcome.value)

    def _give_up(self, probe: Conversation) -> None:
        if probe is self._probe:
            self._probe = None
            probe.abandon()
            self._end_check(NO_ANSWER)

    def _end_check(self, fault: str | None) -> None:
        """Without a fault it is up, as far as there is a way to it."""
        self._is_checking = False
        if fault is not None:
            self._go_down(fault)
            return
        self._delay = FIRST_DELAY
        self._fault = None
        self._tools.changed()

    def _go_down(self, fault: str) -> None:
        self._fault = fault
        delay, self._delay = self._delay, min(2 * self._delay, LAST_DELAY)
        self._tools.loop.call_later(delay, self._probe_again)
        self._tools.changed()

    def _probe_again(self) -> None:
        if self._fault is not None and not self._is_closed:
            self._begin_check()

    # Following the system

    def refresh(self, present: Mapping[str, Interface]) -> frozenset[int] | None:  # noqa: ARG002
        """Flows whose sockets lead to the proxy by something else than now are lost."""
        if not self._is_started:
            self._is_started = True
            self._begin_check()
        before, self._present = self._present, self._ways()
        if before == self._present:
            return None
        lost = any(
            way is not None and way != self._present[1].get(address)
            for address, way in before[1].items()
        )
        return frozenset(FAMILIES) if lost else frozenset()

    def _ways(self) -> tuple[bool, Mapping[bytes, Hashable]]:
        ways = {address: self._way.present(address) for address in self._addresses.all}
        return self.up, ways

    def close(self) -> None:
        self._is_closed = True
        if self._probe is not None:
            self._probe.abandon()
            self._probe = None


def _in_words(error: int) -> str:
    """Why nothing could be reached, in one clause."""
    if error == errno.ECONNREFUSED:
        return "it refuses connections"
    if error == errno.ETIMEDOUT:
        return NO_ANSWER
    return os.strerror(error) if error else NO_ANSWER
