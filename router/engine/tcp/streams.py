"""TCP, dial first: from an application's request to two sockets that are relayed.

Theory of operation. A request (SYN) is held until the way out has connected (`dialling`), and then
goes on to a listener of ours, rewritten so that our kernel ends the connection on a real socket
(`flows.tcp`); all further segments are rewritten both ways, and the two sockets are relayed
(`egress.relay`). Only a connection whose alias stands for a flow that has dialled is accepted.

Always true: what cannot be had for a new flow (room, descriptors, ports) is refused it and taken
from no other; a flow ends by what its two ends do, and by nothing else as long as its way out is
there; a request that the kernel would take for a new connection is never let in undialled, however
soon it follows the end of the former one.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from struct import Struct
from typing import Any, Final, Protocol

from router.engine.refusals import Refusals
from router.engine.reload.reevaluate import Reevaluated, Reevaluation
from router.engine.tcp import accept
from router.engine.tcp.accept import Acceptor
from router.engine.tcp.dial import DESCRIPTORS_EACH, Dialer, DialWatcher
from router.engine.tcp.keepalive import QUIET, Keepalive
from router.engine.tcp.peer_keepalive import PeerKeepalive
from router.engine.tun_writer import TunWriter
from router.flows.drops import Drop, Drops
from router.flows.quoted_tcp import quoted_key, translated
from router.flows.rewrite import Rewrite
from router.flows.tally import Tally, move
from router.flows.tcp import Flow, FlowTable, State, destination_of, mirrored
from router.outbound.all import Change, Outbound
from router.outbound.buffers import BufferPool
from router.outbound.descriptors import Descriptors
from router.outbound.relay import End, Relay, reset
from router.platform.base.descriptors import HasFileno
from router.platform.base.tcp import TcpSockets
from router.platform.base.tun import TunDevice
from router.wire import icmp, ip, offload, tcp
from router.wire.icmp import Error

LIMIT: Final = 16_384
"""Connections at most; a further one is refused, unless one has been idle for longer than
RFC 5382 REQ-5 protects it."""
LISTENERS: Final = 4
"""For each family. A connection that we end first keeps its alias busy for a minute; with four
listeners there are aliases for 4,000 a second."""
RESETS_A_TURN: Final = 32

KEY_V4: Final = Struct("12s")
KEY_V6: Final = Struct("36s")
AT_V4: Final = offload.HEADER + 12
AT_V6: Final = offload.HEADER + 8
TCP_V4: Final = offload.HEADER + ip.IPV4_HEADER
TCP_V6: Final = offload.HEADER + ip.IPV6_HEADER
NOTEWORTHY: Final = tcp.SYN | tcp.FIN | tcp.RST


class Watcher(DialWatcher, accept.Watcher, Protocol):
    """Who waits for sockets, and knows the time."""

    def redirect_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None: ...

    def call_soon(self, callback: Callable[[], None]) -> None: ...


class Streams:
    """The TCP flows of both families.

    addresses, peers: by IP version, the two host addresses of the TUN's subnet.
    is_ours: whether an address is one of another interface of this machine.
    descriptors: theirs are taken from there.
    """

    def __init__(
        self,
        sockets: TcpSockets,
        tun: TunDevice,
        watcher: Watcher,
        addresses: Mapping[int, bytes],
        is_ours: Callable[[bytes], bool],
        descriptors: Descriptors,
        writer: TunWriter,
        refusals: Refusals,
        drops: Drops,
    ) -> None:
        self._sockets = sockets
        self._tun = tun
        self._frame = tun.frame
        self._watcher = watcher
        self._own = frozenset(addresses.values())
        self._is_elsewhere = is_ours
        self._writer = writer
        self._refusals = refusals
        self._drops = drops
        self._descriptors = descriptors
        self._pool = BufferPool(
            descriptors, splicing=sockets.splicing, is_at_mark=sockets.is_at_mark
        )
        self._relays: dict[Flow[Outbound], Relay] = {}
        self._keepalive = Keepalive(self._sockets, self._relays, watcher, writer)
        self._peer_keepalive = PeerKeepalive(self._sockets, self._relays, self._is_ours)
        self._acceptor = Acceptor(watcher)
        listening = {
            version: [self._listen(address) for _ in range(LISTENERS)]
            for version, address in addresses.items()
        }
        self._table: FlowTable[Outbound] = FlowTable(LIMIT, refusals.peers, listening)
        self._rewrites = self._table.rewrites
        self._dialer = Dialer(
            *(self._sockets, self._table, watcher, self._is_ours, writer, refusals, drops),
            descriptors,
        )

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
        if now - flow.last > QUIET and self._keepalive.holds(frame, size, start, rewrite):
            return True
        flow.last = now
        tally = flow.tally
        if rewrite.outward:
            tally.packets_in += 1
            tally.bytes_in += size - offload.HEADER
        else:
            tally.packets_out += 1
            tally.bytes_out += size - offload.HEADER
        rewrite.apply(frame, start)
        self._writer.send(size)
        return True

    def take(self, segment: ip.Packet, now: float) -> bool:
        """The same for an unusual segment, or one of a flow that is still dialling."""
        if not tcp.is_whole(segment):
            return False
        key = segment.source + segment.destination + tcp.ports(segment)
        rewrite = self._rewrites.get(key)
        if rewrite is None:
            flow = self._table.flows.get(key)
            return flow is not None and self._dialer.take(flow, segment, now)
        frame = bytearray(offload.NOTHING_LEFT + segment.data)
        start = offload.HEADER + segment.payload
        if not self._note(frame, start, rewrite):
            return False
        rewrite.owner.last = now
        tally = rewrite.owner.tally
        if rewrite.outward:
            tally.came_in(len(segment.data))
        else:
            tally.went_out(len(segment.data))
        rewrite.apply(frame, start)
        self._writer.deliver(bytes(memoryview(frame)[offload.HEADER :]))
        return True

    def begin(self, segment: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """The first segment of a flow, by a way out that is up and has its family."""
        if not tcp.is_whole(segment):
            self._drops.count(Drop.MALFORMED)
        elif not tcp.has_valid_checksum(segment):
            self._drops.count(Drop.BAD_CHECKSUM)
        elif not tcp.is_request(segment):
            self._refusals.reset(segment, Drop.NO_CONNECTION)
        elif outbound.owns(segment.source) and self._dialer.has_sent(segment):
            self._drops.count(Drop.LOOP)
        elif not self._has_room and not self._make_room(now):
            self._refusals.refuse(segment, Error.PROHIBITED, Drop.TABLE_FULL, now)
        else:
            self._dialer.begin(segment, outbound, tally, now)

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
        self._writer.deliver(translated(error, source, answer_key))
        return True

    def _note(self, frame: bytearray, start: int, rewrite: Rewrite[Flow[Outbound]]) -> bool:
        """Learn from a SYN, FIN or RST that passes; False if it does not belong to the flow."""
        flow, flags = rewrite.owner, frame[start + 13]
        if flags & tcp.FIN:
            flow.fins |= 1 + rewrite.outward
        sequence = int.from_bytes(frame[start + 4 : start + 8], "big")
        asks_anew = flags & tcp.SYN and not rewrite.outward and sequence != flow.sequence
        if flow.state is State.RELAYED:
            if asks_anew and self._sockets.has_ended(self._relays[flow].inner):
                self._table.end(flow)
                return False
            return True
        if asks_anew:
            self._dialer.abandon(flow)
            return False
        if flags & tcp.RST and (flow.state is State.LINGERING or sequence == flow.after_request):
            self._dialer.abandon(flow)
        return True

    def _is_ours(self, address: bytes) -> bool:
        """The kernel would not take a packet from such an address out of the TUN."""
        return address in self._own or self._is_elsewhere(address)

    # Accepting

    def _listen(self, address: bytes) -> bytes:
        """Open a listener; its address and port."""
        sock = self._sockets.listening(address)
        port: int = sock.getsockname()[1]
        name = address + port.to_bytes(2, "big")
        self._acceptor.listen(sock, partial(self._accept, name), partial(self._turn_away, name))
        return name

    def _accept(self, name: bytes, sock: socket.socket, address: Any) -> Relay | None:
        """`name`: whom it has connected to; `address`: who. The relay, if it may connect."""
        sock.setblocking(False)
        host, port, *_ = address
        source = socket.inet_pton(sock.family, host)
        alias = source + name[:-2] + port.to_bytes(2, "big") + name[-2:]
        flow = self._table.accepted(alias)
        if flow is not None:
            return self._relay(flow, sock)
        reset(sock)
        sock.close()
        return None

    def _turn_away(self, name: bytes, sock: socket.socket, address: Any) -> None:
        """Accept and reset it: there is no descriptor to keep it with."""
        relay = self._accept(name, sock, address)
        if relay is not None:
            relay.reset()
            self._drops.count(Drop.TABLE_FULL)

    def _relay(self, flow: Flow[Outbound], inner: socket.socket) -> Relay:
        outer = self._dialer.sockets.pop(flow)
        with contextlib.suppress(OSError):
            self._sockets.connected(outer)
        relay = Relay(
            inner,
            outer,
            self._pool,
            partial(self._finished, flow),
            self._watcher.call_soon,
        )
        self._relays[flow] = relay
        self._watcher.redirect_changes(outer, relay.outer_changed)
        self._watcher.watch_changes(inner, relay.inner_changed)
        relay.start()
        return relay

    # Ending

    def expire(self, now: float) -> None:
        """End what nobody waits for any more, and look whose far end asks whether anybody does."""
        for flow in self._table.expired(now):
            self._dialer.abandon(flow)
        self._peer_keepalive.look(now)

    def forget(self, change: Change) -> None:
        """A way out has changed: dial anew what was dialling, and reset what can be answered no
        more; whatever can still come back stays as it is."""
        stranded = []
        for flow in self._table.of_outbound(change.outbound):
            if flow.state is not State.DIALLING:
                if self._is_stranded(flow):
                    stranded.append(flow)
            elif flow.version in change.lost:
                self._dialer.abandon(flow)
        self._reset_all(stranded)

    def _is_stranded(self, flow: Flow[Outbound]) -> bool:
        """Whether the interface of a connection is gone for good, or its own address: a way out
        that is up without it has got another in its place."""
        outer = self._outer(flow)
        if outer is None or self._sockets.has_lost_interface(outer):
            return outer is not None
        if flow.version not in flow.outbound.interfaces:
            return False
        address = outer.getsockname()[0].partition("%")[0]
        return not self._is_elsewhere(socket.inet_pton(outer.family, address))

    def reevaluate(self, reevaluation: Reevaluation) -> Reevaluated:
        """Other rules have taken over: end the connections about which they say otherwise, at both
        ends; the request of one that is being dialled asks anew."""
        kept, ended = 0, []
        for flow in self._table.living():
            destination, port = destination_of(flow.key)
            tally, lives = reevaluation.evaluate(
                flow.tally, destination, ip.TCP, port, flow.outbound
            )
            move(flow, tally)
            if lives:
                kept += 1
            else:
                ended.append(flow)
        self._reset_all(ended)
        return Reevaluated(kept, len(ended))

    def outbounds(self) -> set[Outbound]:
        """Those that a flow goes by."""
        return {flow.outbound for flow in self._table.living()}

    def close(self) -> None:
        """Reset every connection, at both ends, and let the resets get through."""
        for flow in [*self._dialer.sockets, *self._relays]:
            self._reset(flow)
            self._drain_tun()
        self._acceptor.close()
        self._pool.close()

    def _outer(self, flow: Flow[Outbound]) -> socket.socket | None:
        """The socket to the way out; a flow that lingers has none."""
        relay = self._relays.get(flow)
        return relay.outer if relay is not None else self._dialer.sockets.get(flow)

    def _reset_all(self, flows: Sequence[Flow[Outbound]]) -> None:
        """A few a turn: what the kernel then says to their applications has to find room in the
        TUN's queue."""
        for flow in flows[:RESETS_A_TURN]:
            if self._outer(flow) is not None:
                self._reset(flow)
        if len(flows) > RESETS_A_TURN:
            self._watcher.call_soon(partial(self._reset_all, flows[RESETS_A_TURN:]))

    def _reset(self, flow: Flow[Outbound]) -> None:
        relay = self._relays.get(flow)
        if relay is not None:
            relay.reset()
        else:
            self._dialer.abandon(flow)

    def _finished(self, flow: Flow[Outbound], how: End) -> None:
        """A relay has ended, and is about to close its sockets; its flow may have ended before."""
        relay = self._relays.pop(flow)
        self._watcher.forget_changes(relay.outer)
        self._watcher.forget_changes(relay.inner)
        self._descriptors.give_back(DESCRIPTORS_EACH)
        if how is End.INNER_BROKE:
            self._table.end(flow)
        else:
            self._table.linger(flow, self._watcher.now)

    @property
    def _has_room(self) -> bool:
        return not self._table.is_full and self._descriptors.free >= DESCRIPTORS_EACH

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
