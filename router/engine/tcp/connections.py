"""Connections that exist: accepted from our own kernel, relayed, reset.

Theory of operation. `dial` has let the application's request through to a listener of ours, so our
kernel connects the flow's alias to it. Only such a connection is accepted: it and the socket that
has dialled become one relay (router.outbound.relay), which closes both when it ends.

Always true: a flow is in `relays` exactly as long as its two sockets are relayed; each has taken
DESCRIPTORS_EACH from the budget until then.

Must not know: how segments are rewritten, what the rules say.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from router.engine.tcp import accept
from router.engine.tcp.accept import Acceptor
from router.engine.tcp.dial import DESCRIPTORS_EACH, Dialer
from router.engine.tcp.offloaded import OffloadedFlows
from router.engine.tcp.resets import Resets
from router.flows.drops import Drop, Drops
from router.flows.tcp.flow import Flow, State
from router.flows.tcp.table import FlowTable
from router.outbound.base import Outbound
from router.outbound.buffers import BufferPool
from router.outbound.descriptors import Descriptors
from router.outbound.relay import End, Relay
from router.platform.base.connections import Resent
from router.platform.base.descriptors import HasFileno
from router.platform.base.tcp import TcpSockets
from router.platform.tcp_socket import reset_on_close

LISTENERS: Final = 4
"""For each family. A connection that we end first keeps its alias busy for a minute; with four
listeners there are aliases for 4,000 a second."""
V4_NAME: Final = 6
"""Bytes of the name of a listener at an IPv4 address."""
RESETS_A_TURN: Final = 32
"""The segments that the kernel then sends to their applications have to fit in the TUN's queue."""


class Watcher(accept.Watcher, Protocol):
    """The part of the event loop that connections need; see router.engine.loop."""

    now: float

    def watch_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None: ...

    def redirect_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None: ...

    def forget_changes(self, source: HasFileno) -> None: ...

    def call_soon(self, callback: Callable[[], None]) -> None: ...


class Listener:
    """name: its address and port, 6 or 18 bytes."""

    def __init__(self, sock: socket.socket, address: bytes) -> None:
        self.sock = sock
        port: int = sock.getsockname()[1]
        self.name = address + port.to_bytes(2, "big")


class OuterEnd(NamedTuple):
    """The local end of the connection to an outbound: address (4 or 16 bytes) and port, and the
    round trip in seconds as far as it is known; what it has sent, and sent again."""

    address: bytes
    port: int
    round_trip: float | None
    resent: Resent


def open_listeners(
    sockets: TcpSockets, addresses: Mapping[int, bytes]
) -> Mapping[int, Sequence[Listener]]:
    """LISTENERS at each address of the TUN, by IP version. Raises OSError."""
    return {
        version: [Listener(sockets.listening(address), address) for _ in range(LISTENERS)]
        for version, address in addresses.items()
    }


class Connections:
    """The relayed flows of `table`, and the listeners that their inner sockets come from.

    descriptors: those of relays and of their buffers are taken from there. offloaded: flows whose
    segments the system rewrites. resets: told of those that our kernel sends.
    """

    def __init__(
        self,
        sockets: TcpSockets,
        table: FlowTable[Outbound],
        dialer: Dialer,
        listeners: Iterable[Listener],
        watcher: Watcher,
        descriptors: Descriptors,
        drops: Drops,
        offloaded: OffloadedFlows,
        resets: Resets,
    ) -> None:
        self.relays: dict[Flow[Outbound], Relay] = {}
        self._sockets = sockets
        self._table = table
        self._dialer = dialer
        self._watcher = watcher
        self._descriptors = descriptors
        self._drops = drops
        self.offloaded = offloaded
        self._resets = resets
        self._pool = BufferPool(descriptors, sockets.open_pipe, sockets.is_at_mark)
        self._acceptor = Acceptor(watcher)
        self.accept_all = self._acceptor.accept_all
        for each in listeners:
            self._acceptor.listen(
                each.sock,
                partial(self._accept, each.name),
                partial(self._reset_one, each.name),
            )

    def outer_socket(self, flow: Flow[Outbound]) -> socket.socket | None:
        """The socket to the outbound; a flow that lingers has none."""
        relay = self.relays.get(flow)
        if relay is not None:
            return relay.outer
        dial = self._dialer.dials.get(flow)
        return None if dial is None else dial.sock

    def outer_end(self, flow: Flow[Outbound]) -> OuterEnd | None:
        """What is known of the connection to the outbound; None where there is none."""
        outer = self.outer_socket(flow)
        if outer is None:
            return None
        try:
            host, port, *_ = outer.getsockname()
            info = self._sockets.tcp_info(outer)
        except OSError:  # it was reset a moment ago
            return None
        address = socket.inet_pton(outer.family, host.partition("%")[0])
        return OuterEnd(address, port, info.round_trip, info.resent)

    def has_ended(self, flow: Flow[Outbound]) -> bool:
        """Whether our kernel has ended the inner connection of a flow that is relayed."""
        return self._sockets.has_ended(self.relays[flow].inner)

    def set_traffic_class(self, flow: Flow[Outbound], traffic_class: int) -> None:
        """Of what its outer socket sends from now on."""
        outer = self.outer_socket(flow)
        if outer is not None:
            with contextlib.suppress(OSError):  # of a connection that was reset since
                self._sockets.set_traffic_class(outer, traffic_class)

    def reset(self, flow: Flow[Outbound]) -> None:
        """End a flow at once, at both ends.

        One that our kernel has connected is accepted first: its application takes it for
        established and may be waiting for what the other end says.
        """
        if flow.state is State.OPENING:
            self.accept_all()
        relay = self.relays.get(flow)
        if relay is not None:
            relay.reset()
        else:
            self._dialer.abandon(flow)

    def reset_all(self, flows: Sequence[Flow[Outbound]]) -> None:
        """Reset flows, RESETS_A_TURN in each round of the loop; those that linger are left."""
        for flow in flows[:RESETS_A_TURN]:
            if self.outer_socket(flow) is not None:
                self.reset(flow)
        if len(flows) > RESETS_A_TURN:
            self._watcher.call_soon(partial(self.reset_all, flows[RESETS_A_TURN:]))

    def close(self) -> None:
        """Close the listeners. Flows are reset before."""
        self._acceptor.close()
        self._pool.close()

    def _accept(self, name: bytes, sock: socket.socket, address: Any) -> Relay | None:
        """A connection from `address` to the listener `name`; its relay, if a flow waits for it."""
        sock.setblocking(False)
        host, port, *_ = address
        family = socket.AF_INET if len(name) == V4_NAME else socket.AF_INET6
        source = socket.inet_pton(family, host)
        alias = source + name[:-2] + port.to_bytes(2, "big") + name[-2:]
        flow = self._table.accepted(alias)
        if flow is not None:
            return self._relay(flow, sock)
        reset_on_close(sock)
        sock.close()
        return None

    def _reset_one(self, name: bytes, sock: socket.socket, address: Any) -> None:
        """Accept and reset: no descriptor is left to keep the connection with."""
        relay = self._accept(name, sock, address)
        if relay is not None:
            relay.reset()
            self._drops.count(Drop.TABLE_FULL)

    def _relay(self, flow: Flow[Outbound], inner: socket.socket) -> Relay:
        outer = self._dialer.release(flow)
        finished = partial(self._finished, flow)
        again, decide_end = self._watcher.call_soon, flow.outbound.on_empty_end
        relay = Relay(inner, outer, self._pool, finished, again, decide_end)
        self.relays[flow] = relay
        self._watcher.redirect_changes(outer, relay.outer_changed)
        self._watcher.watch_changes(inner, relay.inner_changed)
        return relay

    def _finished(self, flow: Flow[Outbound], how: End) -> None:
        """A relay has ended, and is about to close its sockets; its flow may have ended before."""
        relay = self.relays.pop(flow)
        self._watcher.forget_changes(relay.outer)
        self._watcher.forget_changes(relay.inner)
        self._descriptors.give_back(DESCRIPTORS_EACH)
        self.offloaded.end(flow)
        if how is End.INNER_BROKE:
            self._table.end(flow)
            return
        self._table.linger(flow, self._watcher.now)
        if how is End.OUTER_BROKE:
            self._resets.note_sent(flow, self._watcher.now)
