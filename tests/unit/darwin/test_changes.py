"""Which events of xnu are a reason to read the state anew, and sleep."""

from __future__ import annotations

import errno
import sys
import time

import pytest

from router.platform.base.facts import Reported
from router.platform.darwin.changes import DarwinChanges, Sleep, while_asleep_too, while_awake
from tests.unit.darwin import layouts
from tests.unit.darwin.fake_kernel import (
    HOST,
    LLINFO,
    UP,
    WASCLONED,
    Entry,
    FakeKernel,
    Key,
    address_bytes,
    link_address,
    refuse,
    route_bytes,
)

ADD, DELETE, GET, MISS = 1, 2, 4, 7
NET = Key(4, 0x0A000000, 8)


class Clocks:
    def __init__(self) -> None:
        self.awake = 100.0
        self.asleep = 0.0

    def sleep(self) -> Sleep:
        return Sleep(lambda: self.awake + self.asleep, lambda: self.awake)


def event(kind: int, key: Key = NET, flags: int = UP, error: int = 0) -> bytes:
    flags |= HOST if key.is_host else 0
    return route_bytes(kind, key, Entry(4, flags, link_address(4, "en0")), error)


def drained(*events: bytes | OSError, clocks: Clocks | None = None) -> Reported:
    kernel = FakeKernel()
    kernel.events = list(events)
    changes = DarwinChanges(kernel, (clocks or Clocks()).sleep())
    found = changes.drain()
    assert kernel.events == []
    changes.close()
    return found


def interface_event() -> bytes:
    return bytes(layouts.IfMsghdr(ifm_msglen=112, ifm_version=5, ifm_type=0xE, ifm_index=4))


NEWADDR = b"\x14\x00\x05\x0c" + bytes(16)


@pytest.mark.parametrize(
    "noise",
    [
        event(MISS),
        event(GET),
        event(ADD, flags=UP | WASCLONED),
        event(ADD, Key(4, 0x0A000001, 32, is_host=True), flags=UP | LLINFO),
        event(ADD, error=errno.EEXIST),
        event(ADD, Key(6, 0xFE80 << 112, 64)),
        event(DELETE, Key(6, 0xFF02 << 112, 32)),
        event(ADD, Key(4, 0xE0000000, 4)),
        event(ADD, Key(4, 0xA9FE0000, 16)),
        b"\x10\x00\x05\x0f" + bytes(12),
        NEWADDR,
        b"",
    ],
)
def test_noise_is_no_change(noise: bytes) -> None:
    assert drained(noise, noise) == Reported((), address_removed=False)


@pytest.mark.parametrize(
    "change",
    [
        event(ADD),
        event(DELETE, Key(4, 0, 0)),
        event(ADD, Key(6, 0, 0)),
        interface_event(),
        refuse(errno.ENOBUFS),
        b"\xff\xff\x05\x01",
    ],
)
def test_a_change_is_one_among_noise_too(change: bytes | OSError) -> None:
    assert drained(event(MISS), change, event(MISS)).routes is None


def address_event(kind: int) -> bytes:
    body = address_bytes(4, 0xC0000202)
    header = layouts.IfaMsghdr(
        ifam_msglen=20 + len(body),
        ifam_version=5,
        ifam_type=kind,
        ifam_addrs=0x20,
        ifam_index=4,
    )
    return bytes(header) + body


@pytest.mark.parametrize(
    ("change", "removed"),
    [
        (address_event(0xC), False),
        (address_event(0xD), True),
        (event(DELETE), False),
        (refuse(errno.ENOBUFS), True),
        (b"\xff\xff\x05\x01", True),
    ],
    ids=["added", "removed", "a route", "an overrun", "malformed"],
)
def test_a_removed_address_is_told(change: bytes | OSError, removed: bool) -> None:
    noise = event(MISS)
    assert drained(noise, change, noise) == Reported(None, address_removed=removed)


def test_another_error_is_raised() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        drained(refuse(errno.EBADF))


def test_a_flood_is_read_in_portions() -> None:
    kernel = FakeKernel()
    kernel.events = [event(MISS)] * 300
    changes = DarwinChanges(kernel, Clocks().sleep())
    assert changes.drain() == Reported((), False)
    assert len(kernel.events) == 300 - 256
    assert changes.drain() == Reported(None, True), "one may have been lost"
    assert changes.drain() == Reported((), False)


def test_after_sleep_everything_is_read_anew_once() -> None:
    kernel, clocks = FakeKernel(), Clocks()
    changes = DarwinChanges(kernel, clocks.sleep())
    clocks.awake += 3600
    assert changes.drain() == Reported((), address_removed=False)
    clocks.asleep += 2
    kernel.events = [event(MISS)]
    assert changes.drain() == Reported(None, address_removed=True)
    assert changes.drain() == Reported((), address_removed=False)


def test_the_clocks_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """clock_gettime(3): MONOTONIC_RAW goes on during sleep, UPTIME_RAW does not."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(time, "CLOCK_MONOTONIC_RAW", "goes on", raising=False)
    monkeypatch.setattr(time, "CLOCK_UPTIME_RAW", "stops", raising=False)
    monkeypatch.setattr(time, "clock_gettime", {"goes on": 7.0, "stops": 5.0}.__getitem__)
    assert (while_asleep_too(), while_awake()) == (7.0, 5.0)


def test_the_clocks_of_this_machine_agree_while_it_is_awake() -> None:
    sleep = Sleep()
    assert not sleep.has_happened()
    assert while_asleep_too() >= while_awake() - 1
