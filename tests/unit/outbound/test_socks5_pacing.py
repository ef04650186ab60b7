"""What is sent to a proxy is paced as the system chooses, unless the proxy is near."""

from __future__ import annotations

import pytest

from router.outbound.socks5.pacing import NEAR
from tests.unit.outbound.memory_proxy import CHOSEN, CONNECTED, Bed, MemorySocket


def open_one(bed: Bed) -> MemorySocket:
    dial, carrier = bed.dial()
    if not carrier.is_connected:
        carrier.accept()
        carrier.say(CHOSEN)
    carrier.say(CONNECTED)
    sock: MemorySocket = dial.release()
    return sock


@pytest.mark.parametrize("shortest", [None, NEAR * 1.01, 0.05])
def test_a_distant_proxy_gets_the_choice_of_the_system(bed: Bed, shortest: float | None) -> None:
    bed.tcp.shortest = shortest
    open_one(bed)
    open_one(bed)
    assert bed.tcp.unpaced == []


def test_what_is_sent_to_a_near_proxy_is_not_paced(bed: Bed) -> None:
    """One connection shows it for those that follow."""
    bed.tcp.shortest = NEAR
    socks = [open_one(bed) for _ in range(3)]
    assert bed.tcp.unpaced == socks
    assert bed.tcp.asked == 1


def test_one_handshake_is_enough_to_show_it(bed: Bed) -> None:
    bed.tcp.shortest = NEAR * 5
    open_one(bed)
    bed.tcp.shortest = NEAR / 5
    second = open_one(bed)
    bed.tcp.shortest = NEAR * 5
    third = open_one(bed)
    assert bed.tcp.unpaced == [second, third]


def test_another_way_to_the_proxy_shows_anew(bed: Bed) -> None:
    bed.outbound.refresh({})
    bed.tcp.shortest = NEAR / 2
    open_one(bed)
    bed.way.interface, bed.tcp.shortest = "wlan0", NEAR * 30
    bed.outbound.refresh({})
    open_one(bed)
    assert (bed.tcp.asked, len(bed.tcp.unpaced)) == (2, 1)


def test_nothing_is_decided_about_a_connection_that_was_reset(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_sock: MemorySocket) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(bed.tcp, "tcp_info", fail)
    open_one(bed)
    monkeypatch.undo()
    bed.tcp.shortest = NEAR
    sock = open_one(bed)
    assert bed.tcp.unpaced == [sock]
