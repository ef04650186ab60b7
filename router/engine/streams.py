"""TCP, dial first: from an application's request to two sockets that are relayed.

Theory of operation. A request (SYN) is held while a socket that is bound to the way out connects.
What the network says of that is what the application is told: a reset for a reset, an ICMP error
for an ICMP error, from the router that sent it, nothing for nothing. Once connected, the request
goes on to a listener of ours, rewritten so that our kernel ends the connection on a real socket
(`flows.tcp`); all further segments are rewritten both ways, and the two sockets are relayed
(`egress.relay`). Only a connection whose alias stands for a flow that has dialled is accepted.

Always true: an application is never told of success before the way out has connected; what cannot
be had for a new flow (room, descriptors, ports) is refused it and taken from no other; a flow ends
by what its two ends do, and by nothing else as long as its way out is there.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Mapping
from functools import partial
from struct import Struct
from typing import Final, Protocol

from router.egress.relay import End, Relay, Vessels, reset
from router.egress.ways import WayOut
from router.engine.inside import Inside
from router.engine.queries import SEND_ERRORS
from router.engine.refusals import Refusals
from router.flows.addresses import is_host_source
from router.flows.drops import Drop, Drops
from router.flows.quoted_tcp import quoted_key, translated
from router.flows.rewrite import Rewrite
from router.flows.tcp import Flow, FlowTable, State, mirrored
from router.platform.base import ConnectFailure, HasFileno, System, TunDevice
from router.wire import icmp, ip, offload, tcp
from router.wire.icmp import Error

LIMIT: Final = 16_384
"""Connections at most; a further one is refused, unless one has been idle for longer than
RFC 5382 REQ-5 protects it."""
DESCRIPTORS_EACH: Final = 3
"""Two sockets, and half a pipe: few connections hold one at any moment."""
DESCRIPTORS_ELSEWHERE: Final = 128
LISTENERS: Final = 4
"""For each family. A connection that we end first keeps its alias busy for a minute; with four
listeners there are aliases for 4,000 a second."""
ACCEPT_BUDGET: Final = 64

KEY_V4: Final = Struct("12s")
KEY_V6: Final = Struct("36s")
AT_V4: Final = offload.HEADER + 12
AT_V6: Final = offload.HEADER + 8
TCP_V4: Final = offload.HEADER + ip.IPV4_HEADER
TCP_V6: Final = offload.HEADER + ip.IPV6_HEADER
NOTEWORTHY: Final = tcp.SYN | tcp.FIN | tcp.RST

EXHAUSTED: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EADDRNOTAVAIL}
)
"""What stands for a lack of descriptors, memory or ports; connect() says EAGAIN and EADDRNOTAVAIL
when no local port is left."""
RESETS: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE})


class Watcher(Protocol):
    """Who waits for sockets, and knows the time."""

    now: float

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None: ...

    def watch_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None: ...

    def forget_changes(self, source: HasFileno) -> None: ...

    def call_soon(self, callback: Callable[[], None]) -> None: ...


class Streams:
    """The TCP flows of both families.

    addresses, peers: by IP version, the two host addresses of the TUN's subnet.
    is_ours: whether an address is one of another interface of this machine.
    descriptors: how many the process may have.
    """

    def __init__(
        self,
        system: System,
        tun: TunDevice,
        watcher: Watcher,
        addresses: Mapping[int, bytes],
        is_ours: Callable[[bytes], bool],
        descriptors: int,
        inside: Inside,
        refusals: Refusals,
        drops: Drops,
    ) -> None:
        self._sockets = system.streams
        self._tun = tun
        self._frame = tun.frame
        self._watcher = watcher
        self._own = frozenset(addresses.values())
        self._is_elsewhere = is_ours
        self._inside = inside
        self._refusals = refusals
        self._drops = drops
        self._vessels = Vessels(splicing=system.streams.splicing)
        self._outer: dict[Flow[WayOut], socket.socket] = {}
        self._relays: dict[Flow[WayOut], Relay] = {}
        self._listeners: list[socket.socket] = []
        listening = {
            version: [self._listen(address) for _ in range(LISTENERS)]
            for version, address in addresses.items()
        }
        limit = max(1, min(LIMIT, (descriptors - DESCRIPTORS_ELSEWHERE) // DESCRIPTORS_EACH))
        self._table: FlowTable[WayOut] = FlowTable(limit, refusals.peers, listening)
        self._rewrites = self._table.rewrites

    def __len__(self) -> int:
        return len(self._table)

    # Segments from the TUN

    def carry(self, size: int, now: float) -> bool:
        """Rewrite the frame that has just been received and hand it in, if it belongs to a flow
        and is as frames usually are; else nothing has happened. `size`: header included."""
        frame = self._frame
        first = frame[offload.HEADER]
        if first == 0x45:
            if frame[19] != ip.TCP or frame[16] & 0x3F or frame[17]:
                return False
            (key,) = KEY_V4.unpack_from(frame, AT_V4)
            start = TCP_V4
        elif first >> 4 == 6 and frame[16] == ip.TCP:
            (key,) = KEY_V6.unpack_from(frame, AT_V6)
            start = TCP_V6
        else:
            return False
        rewrite = self._rewrites.get(key)
        if rewrite is None or size < start + tcp.HEADER:
            return False
        flow = rewrite.owner
        if frame[start + 13] & NOTEWORTHY and not self._note(frame, start, rewrite):
            return False
        flow.last = now
        rewrite.apply(frame, start)
        self._inside.send(size)
        return True

    def take(self, segment: ip.Packet, now: float) -> bool:
        """The same for an unusual segment, or one of a flow that is still dialling."""
        if not tcp.is_whole(segment):
            return False
        key = segment.source + segment.destination + tcp.ports(segment)
        rewrite = self._rewrites.get(key)
        if rewrite is None:
            flow = self._table.flows.get(key)
            return flow is not None and self._while_dialling(flow, segment, now)
        frame = bytearray(offload.NOTHING_LEFT + segment.data)
        start = offload.HEADER + segment.payload
        if not self._note(frame, start, rewrite):
            return False
        rewrite.owner.last = now
        rewrite.apply(frame, start)
        self._inside.hand_in(bytes(memoryview(frame)[offload.HEADER :]))
        return True

    def begin(self, segment: ip.Packet, way: WayOut, rule: int, now: float) -> None:
        """The first segment of a flow, by a way out that is up and has its family."""
        if not tcp.is_whole(segment):
            self._drops.count(Drop.MALFORMED)
        elif not tcp.has_valid_checksum(segment):
            self._drops.count(Drop.BAD_CHECKSUM)
        elif not tcp.is_request(segment):
            self._refusals.reset(segment, Drop.NO_CONNECTION)
        elif way.owns(segment.source) and self._is_our_own(segment):
            self._drops.count(Drop.LOOP)
        elif self._table.is_full and not self._make_room(now):
            self._refusals.refuse(segment, Error.PROHIBITED, Drop.TABLE_FULL, now)
        else:
            self._dial(segment, way, rule, now)

    def from_inside(self, error: ip.Packet) -> bool:
        """Hand in an ICMP error about a segment that the application was sent, as one about what
        our kernel sent; False if it is about no flow. It ends nothing (RFC 5382 REQ-10)."""
        key = quoted_key(error)
        rewrite = self._rewrites.get(mirrored(key)) if key else None
        if rewrite is None or rewrite.outward:
            return False
        if not icmp.has_valid_checksum(error):
            self._drops.count(Drop.BAD_CHECKSUM)
            return True
        source = error.source
        if self._is_ours(source):
            source = self._refusals.peers[error.version]
        answer_key = rewrite.owner.answer_key
        self._inside.hand_in(translated(error, source, answer_key))
        return True

    def _note(self, frame: bytearray, start: int, rewrite: Rewrite[Flow[WayOut]]) -> bool:
        """Learn from a SYN, FIN or RST that passes; False if it does not belong to the flow."""
        flow, flags = rewrite.owner, frame[start + 13]
        if flags & tcp.FIN:
            flow.fins |= 1 + rewrite.outward
        if flow.state is State.RELAYED:
            return True
        sequence = int.from_bytes(frame[start + 4 : start + 8], "big")
        if flags & tcp.SYN and not rewrite.outward and sequence != flow.sequence:
            self._abandon(flow)
            return False
        if flags & tcp.RST and (flow.state is State.LINGERING or sequence == flow.after_request):
            self._abandon(flow)
        return True

    def _while_dialling(self, flow: Flow[WayOut], segment: ip.Packet, now: float) -> bool:
        request = ip.parse(flow.request)
        if not tcp.is_request(segment):
            if tcp.flags(segment) & tcp.RST:
                self._abandon(flow)
            return True
        if tcp.sequence(segment) == flow.sequence and segment.hop_limit == request.hop_limit:
            flow.repeated(now)
            return True
        self._abandon(flow)
        return False

    # Dialling

    def _dial(self, segment: ip.Packet, way: WayOut, rule: int, now: float) -> None:
        version = segment.version
        try:
            sock = self._sockets.dialling(
                version, way.interfaces[version], segment.hop_limit - 1, segment.traffic_class
            )
        except OSError as error:
            self._refuse(segment, ConnectFailure(error.errno or 0), now)
            return
        port = int.from_bytes(tcp.ports(segment)[2:], "big")
        outcome = sock.connect_ex((ip.format_address(segment.destination), port))
        if outcome not in (0, errno.EINPROGRESS):
            self._refuse(segment, ConnectFailure(outcome), now)
            sock.close()
            return
        key = segment.source + segment.destination + tcp.ports(segment)
        flow = self._table.begin(key, segment.data, tcp.sequence(segment), way, rule, now)
        self._outer[flow] = sock
        self._watcher.watch_changes(sock, partial(self._outer_changed, flow))
        if _is_connected(sock):
            self._open(flow, now)  # a near host has answered by now, which spares it a wait

    def _outer_changed(self, flow: Flow[WayOut], event: int) -> None:
        relay = self._relays.get(flow)
        if relay is not None:
            relay.outer_changed(event)
        elif flow.state is State.DIALLING:
            self._dialled(flow)

    def _dialled(self, flow: Flow[WayOut]) -> None:
        sock, now = self._outer[flow], self._watcher.now
        failure = self._sockets.failure(sock)
        if failure.error:
            self._refuse(ip.parse(flow.request), failure, now)
            self._abandon(flow)
            return
        if _is_connected(sock):
            self._open(flow, now)

    def _open(self, flow: Flow[WayOut], now: float) -> None:
        """The way out has connected: the request goes on to a listener."""
        request = ip.parse(flow.request)
        rewrite = self._table.connected(flow, now)
        if rewrite is None:
            self._refusals.refuse(request, Error.PROHIBITED, Drop.TABLE_FULL, now)
            self._abandon(flow)
            return
        frame = bytearray(offload.NOTHING_LEFT + request.data)
        rewrite.apply(frame, offload.HEADER + request.payload)
        self._inside.hand_in(bytes(memoryview(frame)[offload.HEADER :]))

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

    def _is_ours(self, address: bytes) -> bool:
        """The kernel would not take a packet from such an address out of the TUN."""
        return address in self._own or self._is_elsewhere(address)

    def _is_our_own(self, segment: ip.Packet) -> bool:
        """Whether this is a request that a socket of ours has sent and that came back."""
        port = int.from_bytes(tcp.ports(segment)[:2], "big")
        destination = segment.destination + tcp.ports(segment)[2:]
        size = len(segment.source)
        return any(
            flow.key[size:-4] + flow.key[-2:] == destination and sock.getsockname()[1] == port
            for flow, sock in self._outer.items()
            if flow.state is State.DIALLING
        )

    # Accepting

    def _listen(self, address: bytes) -> bytes:
        """Open a listener; its address and port."""
        sock = self._sockets.listening(self._tun, address)
        self._listeners.append(sock)
        port: int = sock.getsockname()[1]
        name = address + port.to_bytes(2, "big")
        self._watcher.watch(sock, partial(self._accept_all, sock, name))
        return name

    def _accept_all(self, listener: socket.socket, name: bytes) -> None:
        for _ in range(ACCEPT_BUDGET):
            try:
                sock, (host, port, *_) = listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            source = socket.inet_pton(sock.family, host)
            alias = source + name[:-2] + port.to_bytes(2, "big") + name[-2:]
            flow = self._table.accepted(alias)
            if flow is None:
                reset(sock)
                sock.close()
            else:
                self._relay(flow, sock)

    def _relay(self, flow: Flow[WayOut], inner: socket.socket) -> None:
        outer = self._outer[flow]
        with contextlib.suppress(OSError):
            self._sockets.connected(outer)
        relay = Relay(
            inner,
            outer,
            self._vessels,
            partial(self._finished, flow),
            self._watcher.call_soon,
        )
        self._relays[flow] = relay
        self._watcher.watch_changes(inner, relay.inner_changed)
        relay.start()

    # Ending

    def expire(self, now: float) -> None:
        """End what nobody waits for any more."""
        for flow in self._table.expired(now):
            self._abandon(flow)

    def forget(self, way: WayOut) -> None:
        """A way out has changed: dial anew what was dialling, and reset what went by an interface
        that is gone for good; whatever can still come back stays as it is."""
        for flow in self._table.of_way(way):
            if flow.state is State.DIALLING:
                self._abandon(flow)
            elif flow in self._outer and self._sockets.is_stranded(self._outer[flow]):
                self._reset(flow)

    def close(self) -> None:
        """Reset every connection, at both ends, and let the resets get through."""
        for flow in list(self._outer):
            self._reset(flow)
            self._drain_tun()
        for listener in self._listeners:
            listener.close()
        self._vessels.close()

    def _reset(self, flow: Flow[WayOut]) -> None:
        relay = self._relays.get(flow)
        if relay is not None:
            relay.reset()
        else:
            self._abandon(flow)

    def _abandon(self, flow: Flow[WayOut]) -> None:
        """End a flow that is not relayed."""
        sock = self._outer.pop(flow, None)
        if sock is not None:
            self._watcher.forget_changes(sock)
            reset(sock)
            sock.close()
        self._table.end(flow)

    def _finished(self, flow: Flow[WayOut], how: End) -> None:
        """A relay has ended, and is about to close its sockets."""
        relay = self._relays.pop(flow)
        self._watcher.forget_changes(self._outer.pop(flow))
        self._watcher.forget_changes(relay.inner)
        if how is End.INNER_BROKE:
            self._table.end(flow)
        else:
            self._table.linger(flow, self._watcher.now)

    def _make_room(self, now: float) -> bool:
        idle = self._table.idle_longest(now)
        if idle is not None:
            self._reset(idle)
        return idle is not None

    def _drain_tun(self) -> None:
        """Carry what our own closing sockets have just sent."""
        with contextlib.suppress(OSError):
            while True:
                self.carry(self._tun.receive(), self._watcher.now)


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
