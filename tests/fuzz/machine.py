"""The forwarder, with the flow tables of every protocol and the direct path, driven by bytes.

The bytes are steps: a kind, the length of what follows in two bytes, and that. What a step does is
in STEPS; a kind beyond them is taken modulo their number.

Always true, and checked: no step raises; a packet that leaves by the TUN is one, where that which
has come by it was one (segments of relayed connections are rewritten as they are, for this
machine's kernel, which checks their length); when all time is over, no flow is left.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from router.platform.base.sockets import NetworkError
from router.platform.base.tcp import ConnectFailure
from router.wire import ip, offload
from tests.unit.engine.udp.memory import received
from tests.unit.engine.world import World, close_worlds

MOST_STEPS: Final = 64
FOREVER: Final = 1e6
"""Seconds: longer than any flow may be idle."""
FAILURES: Final = (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.EMFILE)
REFUSALS: Final = (errno.EPERM, errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE, errno.ENETDOWN)


class Machine:
    """One world, and the time in it."""

    def __init__(self, directory: Path) -> None:
        self.world = World(directory, most=20)
        self.now = 1.0
        self.is_packet = True

    def step(self, kind: int, data: bytes) -> None:
        self.world.tun.written.clear()
        self.is_packet = True
        STEPS[kind % len(STEPS)](self, data)
        if self.is_packet:
            for packet in self.world.tun.written:
                ip.parse(packet)

    def end(self) -> None:
        self.now += FOREVER
        while self.world.forwarder.expire(self.now):
            pass
        counts = self.world.carriers.counts()
        assert not counts["icmp"], counts
        assert not counts["udp"], counts

    def packet_sent(self, data: bytes) -> None:
        self.world.forwarder.from_tun(data, self.now)

    def frame_sent(self, data: bytes) -> None:
        """With its virtio header, as the kernel gives it."""
        frame = data.ljust(offload.HEADER + 1, b"\0")
        self.is_packet = _is_packet(frame[offload.HEADER :])
        self.world.tun.incoming = [frame]
        self.world.reader.turn(2, self.now)

    def query_answered(self, data: bytes) -> None:
        """By the interface of `home`, whoever has sent it."""
        try:
            packet = ip.parse(data)
        except ip.Malformed:
            return
        channel = self.world.channel("home", packet.version)
        self.world.forwarder.from_outside(channel, packet, self.now)

    def datagram_answered(self, data: bytes) -> None:
        for sock in self.world.udp.open[-1:]:
            if sock.sent:
                sock.incoming.append(received(data[1:], sock.sent[-1].address, *data[:1]))
                self.world.receive(sock, self.now)

    def datagram_refused(self, data: bytes) -> None:
        """By an ICMP error in the socket's error queue, or by the next send."""
        for sock in self.world.udp.open[-1:]:
            kind, code, value, by_send = data.ljust(4, b"\0")[:4]
            if by_send & 1:
                sock.raises.append(OSError(REFUSALS[value % len(REFUSALS)], ""))
            elif sock.sent:
                (host, port), payload = sock.sent[-1].address, sock.sent[-1].payload
                offender = sock.source if by_send & 2 else None
                to = (ip_address(host).packed, port)
                sock.queue.append(NetworkError(offender, kind, code, value, *to, payload, 60, 0))
                self.world.receive(sock, self.now)

    def connection_changed(self, data: bytes) -> None:
        """The outbound's last dial has connected or failed, or its far end has sent or closed."""
        tcp = self.world.tcp
        what, rest = data[:1] or b"\0", data[1:]
        for stream in [each for each in tcp.dialled if not each.closed][-1:]:
            match what[0] % 4:
                case 0:
                    stream.connected = True
                case 1:
                    stream.why = ConnectFailure(FAILURES[len(rest) % len(FAILURES)])
                case 2:
                    stream.there.send(rest[:1000])
                case _:
                    stream.has_ended = True
            if tcp.is_watched(stream):
                tcp.change(stream)

    def connection_accepted(self, data: bytes) -> None:
        """By our listener, from the peer's address and a port."""
        tcp = self.world.tcp
        for listener in tcp.listeners[-1:]:
            address = "192.168.7.2" if len(listener.name) == 6 else "fd77::2"
            tcp.connect(listener, (address, int.from_bytes(data[:2], "big")))

    def time_passed(self, data: bytes) -> None:
        self.now += int.from_bytes(data[:2], "big")
        self.world.tcp.now = self.now
        self.world.forwarder.expire(self.now, 8)
        self.world.forwarder.carriers.look_after_peers(self.now)


Step = Callable[[Machine, bytes], None]

STEPS: Final[tuple[Step, ...]] = (
    Machine.packet_sent,
    Machine.frame_sent,
    Machine.query_answered,
    Machine.datagram_answered,
    Machine.datagram_refused,
    Machine.connection_changed,
    Machine.connection_accepted,
    Machine.time_passed,
)


def drive(directory: Path, data: bytes) -> None:
    """Carry out the steps of an input, and let all time pass."""
    machine = Machine(directory)
    try:
        run_steps(machine, data)
        machine.end()
    finally:
        close_worlds()


def run_steps(machine: Machine, data: bytes) -> None:
    for kind, step in _steps(data):
        machine.step(kind, step)


def _is_packet(data: bytes) -> bool:
    try:
        ip.parse(data)
    except ip.Malformed:
        return False
    return True


def _steps(data: bytes) -> Iterator[tuple[int, bytes]]:
    for _ in range(MOST_STEPS):
        if len(data) < 3:
            return
        size = int.from_bytes(data[1:3], "big") % 2048
        yield data[0], data[3 : 3 + size]
        data = data[3 + size :]


def as_steps(*steps: tuple[Step, bytes]) -> bytes:
    """The input with these steps."""
    return b"".join(
        bytes([STEPS.index(step)]) + len(data).to_bytes(2, "big") + data for step, data in steps
    )
