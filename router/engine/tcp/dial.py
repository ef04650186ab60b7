"""Dial first: an application's request, held until the way out has connected.

Theory of operation. A request (SYN) is kept while a socket that is bound to the way out connects.
What the network says of that is what the application is told: a reset for a reset, an ICMP error
for an ICMP error, from the router that sent it, nothing for nothing. Once connected, the request
goes on to a listener of ours, rewritten so that our kernel ends the connection on a real socket;
who accepts it there takes the outer socket over.

Always true: an application is never told of success before the way out has connected; a socket is
in `sockets` exactly as long as its flow is DIALLING or OPENING; an attempt that has failed leaves
neither a flow nor a socket behind.

Must not know: how segments pass and sockets are relayed once the connection is there.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from router.engine.icmp.queries import SEND_ERRORS
from router.engine.refusals import Refusals
from router.engine.tun_writer import TunWriter
from router.flows.addresses import is_host_source
from router.flows.drops import Drop, Drops
from router.flows.tally import Tally
from router.flows.tcp import Flow, FlowTable, State
from router.outbound.all import Outbound
from router.outbound.descriptors import Descriptors
from router.outbound.relay import reset
from router.platform.base.descriptors import HasFileno
from router.platform.base.tcp import ConnectFailure, TcpSockets
from router.wire import ip, offload, tcp
from router.wire.icmp import Error

EXHAUSTED: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EADDRNOTAVAIL}
)
"""What stands for a lack of descriptors, memory or ports; connect() says EAGAIN and EADDRNOTAVAIL
when no local port is left."""
DESCRIPTORS_EACH: Final = 2
"""Of a connection: the socket that dials, and the one that will be accepted."""
RESETS: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE})


class DialWatcher(Protocol):
    """Who waits until sockets have connected, and knows the time."""

    now: float

    def watch_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None: ...

    def forget_changes(self, source: HasFileno) -> None: ...


class Dialer:
    """The flows of `table` that are not relayed yet, and what ends them.

    is_ours: whether an address is one of this machine, the TUN's included.
    """

    def __init__(
        self,
        sockets: TcpSockets,
        table: FlowTable[Outbound],
        watcher: DialWatcher,
        is_ours: Callable[[bytes], bool],
        writer: TunWriter,
        refusals: Refusals,
        drops: Drops,
        descriptors: Descriptors,
    ) -> None:
        self.sockets: dict[Flow[Outbound], socket.socket] = {}
        self._system = sockets
        self._table = table
        self._watcher = watcher
        self._is_ours = is_ours
        self._writer = writer
        self._refusals = refusals
        self._drops = drops
        self._descriptors = descriptors

    def begin(self, request: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """Dial for a request that is whole, by a way out that is up and has its family."""
        if not self._descriptors.take(DESCRIPTORS_EACH):
            self._refuse(request, ConnectFailure(errno.EMFILE), now)
            return
        try:
            sock = self._connecting(request, outbound)
        except OSError as error:
            self._descriptors.give_back(DESCRIPTORS_EACH)
            self._refuse(request, ConnectFailure(error.errno or 0), now)
            return
        key = request.source + request.destination + tcp.ports(request)
        flow = self._table.begin(key, request.data, tcp.sequence(request), outbound, tally, now)
        tally.went_out(len(request.data))
        self.sockets[flow] = sock
        self._watcher.watch_changes(sock, partial(self._changed, flow))
        if _is_connected(sock):
            self._open(flow, now)  # a near host has answered by now, which spares it a wait

    def take(self, flow: Flow[Outbound], segment: ip.Packet, now: float) -> bool:
        """What the application sends while its flow is DIALLING; False if that ends the flow and
        may begin another."""
        request = ip.parse(flow.request)
        if not tcp.is_request(segment):
            if tcp.flags(segment) & tcp.RST:
                self.abandon(flow)
            return True
        if tcp.sequence(segment) == flow.sequence and segment.hop_limit == request.hop_limit:
            flow.repeated(now)
            flow.tally.went_out(len(segment.data))
            return True
        self.abandon(flow)
        return False

    def has_sent(self, request: ip.Packet) -> bool:
        """Whether this is a request that a socket of ours has sent and that came back."""
        port = int.from_bytes(tcp.ports(request)[:2], "big")
        destination = request.destination + tcp.ports(request)[2:]
        size = len(request.source)
        return any(
            flow.key[size:-4] + flow.key[-2:] == destination and sock.getsockname()[1] == port
            for flow, sock in self.sockets.items()
            if flow.state is State.DIALLING
        )

    def abandon(self, flow: Flow[Outbound]) -> None:
        """End a flow that is not relayed, whatever its state."""
        sock = self.sockets.pop(flow, None)
        if sock is not None:
            self._watcher.forget_changes(sock)
            reset(sock)
            sock.close()
            self._descriptors.give_back(DESCRIPTORS_EACH)
        self._table.end(flow)

    def _connecting(self, request: ip.Packet, outbound: Outbound) -> socket.socket:
        """A socket that dials. Raises OSError."""
        version = request.version
        sock = self._system.dialling(
            version, outbound.interfaces[version], request.hop_limit - 1, request.traffic_class
        )
        port = int.from_bytes(tcp.ports(request)[2:], "big")
        outcome = sock.connect_ex((ip.format_address(request.destination), port))
        if outcome not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(outcome, os.strerror(outcome))
        return sock

    def _changed(self, flow: Flow[Outbound], _event: int) -> None:
        if flow.state is not State.DIALLING:
            return
        sock, now = self.sockets[flow], self._watcher.now
        failure = self._system.failure(sock)
        if failure.error:
            self._refuse(ip.parse(flow.request), failure, now)
            self.abandon(flow)
        elif _is_connected(sock):
            self._open(flow, now)

    def _open(self, flow: Flow[Outbound], now: float) -> None:
        """The way out has connected: the request goes on to a listener."""
        request = ip.parse(flow.request)
        rewrite = self._table.connected(flow, now)
        if rewrite is None:
            self._refusals.refuse(request, Error.PROHIBITED, Drop.TABLE_FULL, now)
            self.abandon(flow)
            return
        frame = bytearray(offload.NOTHING_LEFT + request.data)
        rewrite.apply(frame, offload.HEADER + request.payload)
        self._writer.deliver(bytes(memoryview(frame)[offload.HEADER :]))

    def _refuse(self, request: ip.Packet, failure: ConnectFailure, now: float) -> None:
        """Tell the application what the network, or our own kernel, said."""
        if failure.icmp is not None and failure.offender is not None:
            told = is_host_source(failure.offender) and not self._is_ours(failure.offender)
            self._refusals.pass_on(request, failure.icmp, failure.offender if told else None)
        elif failure.error in RESETS:
            self._refusals.reset(request, Drop.CONNECT_FAILED)
        elif failure.error in EXHAUSTED:
            self._refusals.refuse(request, Error.PROHIBITED, Drop.TABLE_FULL, now)
        elif failure.error == errno.ETIMEDOUT:
            self._drops.count(Drop.CONNECT_FAILED)
        else:
            what, reason = SEND_ERRORS.get(
                failure.error, (Error.HOST_UNREACHABLE, Drop.UNREACHABLE)
            )
            self._refusals.refuse(request, what or Error.HOST_UNREACHABLE, reason, now)


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
