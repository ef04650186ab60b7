"""The sockets of a sender arrive when its address may be gone."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.outbound.direct import DirectSenders, NotOpenYet
from router.outbound.local_addresses import LocalAddresses
from router.platform.base.system import System
from router.policy.network import Interface
from tests.unit.engine.world import ETH0

SOURCE = ETH0.addresses[0].ip.packed


class Socket:
    def __init__(self) -> None:
        self.is_closed = False

    def sendto(self, *_: object) -> int:
        return 0

    def forget_next_hops(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


class Sockets:
    """Those that are requested, and what is called with the reply."""

    def __init__(self) -> None:
        self.raw, self.frames = Socket(), Socket()
        self.requested: list[Any] = []

    def raw_socket(self, *request: Any) -> None:
        self.requested.append(request[-1])

    def frame_socket(self, *request: Any) -> None:
        self.requested.append(request[-1])


class Bench:
    def __init__(self) -> None:
        self.sockets = Sockets()
        self.addresses = LocalAddresses("tun11")
        self.addresses.refresh({"eth0": ETH0})
        system = cast(System, SimpleNamespace(sockets=self.sockets))
        self.senders = DirectSenders(system, self.addresses)
        self.opened: list[bytes] = []
        self.senders.opened = self.opened.append

    def change(self, interface: Interface) -> None:
        self.addresses.refresh({interface.name: interface})
        self.senders.refresh()

    def lose_the_address(self) -> None:
        self.addresses.refresh({})
        self.senders.refresh()


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    for _ in range(2):
        with pytest.raises(NotOpenYet):
            made.senders.sender(SOURCE)
    assert len(made.sockets.requested) == 1
    return made


def test_both_sockets_are_opened_once(bench: Bench) -> None:
    bench.sockets.requested[0](bench.sockets.raw)
    with pytest.raises(NotOpenYet):
        bench.senders.sender(SOURCE)
    bench.sockets.requested[1](bench.sockets.frames)
    assert bench.opened == [SOURCE]
    assert bench.senders.sender(SOURCE).frames == cast(Any, bench.sockets.frames)
    bench.senders.close()
    assert bench.sockets.raw.is_closed
    assert bench.sockets.frames.is_closed


def test_an_error_is_raised_once_and_then_it_is_tried_again(bench: Bench) -> None:
    bench.sockets.requested[0](OSError(errno.EMFILE, ""))
    assert bench.opened == [SOURCE]
    with pytest.raises(OSError, match=str(errno.EMFILE)):
        bench.senders.sender(SOURCE)
    with pytest.raises(NotOpenYet):
        bench.senders.sender(SOURCE)
    assert len(bench.sockets.requested) == 2


def test_an_error_of_the_second_closes_the_first(bench: Bench) -> None:
    bench.sockets.requested[0](bench.sockets.raw)
    bench.sockets.requested[1](OSError(errno.EMFILE, ""))
    assert bench.sockets.raw.is_closed
    with pytest.raises(OSError, match=str(errno.EMFILE)):
        bench.senders.sender(SOURCE)


def test_a_second_that_cannot_be_requested_closes_the_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr(bench.sockets, "frame_socket", refuse)
    bench.sockets.requested[0](bench.sockets.raw)
    assert bench.sockets.raw.is_closed
    assert bench.opened == [SOURCE]


@pytest.mark.parametrize("end", [Bench.lose_the_address, lambda bench: bench.senders.close()])
def test_sockets_of_an_address_that_is_gone_are_closed(bench: Bench, end: Any) -> None:
    bench.sockets.requested[0](bench.sockets.raw)
    end(bench)
    bench.sockets.requested[1](bench.sockets.frames)
    assert bench.sockets.raw.is_closed
    assert bench.sockets.frames.is_closed
    assert bench.opened == []


CHANGED = ETH0._replace(name="en0", mtu=1400, addresses=ETH0.addresses[:1])


@pytest.mark.parametrize("opened_first", [True, False])
def test_an_interface_that_changes_keeps_its_sockets(bench: Bench, opened_first: bool) -> None:
    bench.sockets.requested[0](bench.sockets.raw)
    if opened_first:
        bench.sockets.requested[1](bench.sockets.frames)
    bench.change(CHANGED)
    if not opened_first:
        bench.sockets.requested[1](bench.sockets.frames)
    assert bench.senders.sender(SOURCE).interface == CHANGED
    assert len(bench.sockets.requested) == 2
    assert not bench.sockets.raw.is_closed


def test_an_address_that_moves_to_another_interface_gets_other_sockets(bench: Bench) -> None:
    bench.sockets.requested[0](bench.sockets.raw)
    bench.sockets.requested[1](bench.sockets.frames)
    bench.change(ETH0._replace(index=ETH0.index + 1))
    assert bench.sockets.raw.is_closed
    with pytest.raises(NotOpenYet):
        bench.senders.sender(SOURCE)


def test_an_error_about_an_address_that_is_gone_is_nobodys(bench: Bench) -> None:
    bench.lose_the_address()
    bench.sockets.requested[0](OSError(errno.EADDRNOTAVAIL, ""))
    assert bench.opened == []
