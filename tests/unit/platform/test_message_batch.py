"""Many datagrams by one call, from real sockets on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from router.platform.linux.message_batch import COUNT, MessageBatch

LOOPBACK = {4: "127.0.0.1", 6: "::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
IP_RECVTTL, IP_RECVTOS = 12, 13
MOST = {4: 65507, 6: 65487}


class Pair:
    """A receiver, and senders to it."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.receiver = self._bound()
        self.senders = [self._bound(), self._bound()]
        if version == 4:
            self.receiver.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            self.receiver.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        else:
            self.receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            self.receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)

    def _bound(self) -> socket.socket:
        sock = socket.socket(FAMILY[self.version], socket.SOCK_DGRAM)
        sock.bind((LOOPBACK[self.version], 0))
        return sock

    def send(self, *payloads: bytes, sender: int = 0, hop_limit: int = 64) -> None:
        sock = self.senders[sender]
        if self.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hop_limit)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hop_limit)
        for payload in payloads:
            sock.sendto(payload, self.receiver.getsockname())

    def receive(self, batch: MessageBatch) -> list[tuple[list[bytes], int, int, int]]:
        """Of each run: payloads, sender's port, hop limit, traffic class."""
        return [
            (
                [bytes(payload) for payload in arrived.payloads],
                int.from_bytes(arrived.sender[2:4], "big"),
                arrived.hop_limit,
                arrived.traffic_class,
            )
            for arrived in batch.receive(self.receiver.fileno())
        ]

    def port(self, sender: int) -> int:
        return int(self.senders[sender].getsockname()[1])

    def close(self) -> None:
        for sock in (self.receiver, *self.senders):
            sock.close()


@pytest.fixture(params=[4, 6])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(request.param)
    yield made
    made.close()


@pytest.fixture
def batch(pair: Pair) -> MessageBatch:
    return MessageBatch(pair.version)


def test_an_empty_socket_is_reported(pair: Pair, batch: MessageBatch) -> None:
    with pytest.raises(BlockingIOError):
        pair.receive(batch)


def test_alike_from_one_sender_are_one_run(pair: Pair, batch: MessageBatch) -> None:
    payloads = [b"one", b"two", b"3"]
    pair.send(*payloads, hop_limit=33)
    assert pair.receive(batch) == [(payloads, pair.port(0), 33, 0)]


@pytest.mark.parametrize("payloads", [[b"1", b"22"], [b"22", b"1", b"22"], [b"", b"1"]])
def test_other_lengths_are_no_run(pair: Pair, batch: MessageBatch, payloads: list[bytes]) -> None:
    pair.send(*payloads)
    assert [one[0] for one in pair.receive(batch)] == [[payload] for payload in payloads]


def test_other_senders_and_fields_are_no_run(pair: Pair, batch: MessageBatch) -> None:
    pair.send(b"a")
    pair.send(b"b", sender=1)
    pair.send(b"c", hop_limit=2)
    assert pair.receive(batch) == [
        ([b"a"], pair.port(0), 64, 0),
        ([b"b"], pair.port(1), 64, 0),
        ([b"c"], pair.port(0), 2, 0),
    ]


def test_every_size_arrives_whole(pair: Pair, batch: MessageBatch) -> None:
    for size in (0, 1, 1472, 9000, MOST[pair.version]):
        payload = (bytes(range(256)) * 256)[:size]
        pair.send(payload)
        ((payloads, _, _, _),) = pair.receive(batch)
        assert payloads == [payload]


def test_a_flood_comes_in_parts(pair: Pair, batch: MessageBatch) -> None:
    pair.send(*(bytes((number,)) for number in range(COUNT + 5)))
    first, second = pair.receive(batch), pair.receive(batch)
    assert [len(payloads) for payloads, *_ in first + second] == [COUNT, 5]
    assert b"".join(first[0][0] + second[0][0]) == bytes(range(COUNT + 5))


def test_an_error_is_raised(batch: MessageBatch) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        batch.receive(999_999)
