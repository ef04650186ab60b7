"""The path to an address by an interface, out of the kernel's answer among other programs'."""

from __future__ import annotations

import errno
import os
from itertools import count

import pytest

from router.platform.base.facts import NetworkPath
from router.platform.darwin.path import path
from router.platform.darwin.route_requests import get_route
from tests.unit.darwin.fake_kernel import FakeKernel, Key, Link, refuse, route_bytes
from tests.unit.darwin.macs import EN0, EN1, LO, VPN, Mac, key

UNKNOWN = NetworkPath(576, None)
ADDRESS = 0xC6336401
SOURCES = {EN0: bytes([192, 168, 1, 7]), EN1: bytes([192, 168, 2, 7])}


@pytest.mark.parametrize("interface", [EN0, EN1])
def test_mtu_and_source_of_an_interface(interface: int) -> None:
    mac = Mac()
    foreign = mac.kernel.table[key("10.0.0.0/8")]
    mac.kernel.events = [route_bytes(4, Key(4, ADDRESS, 32), foreign)]
    assert path(mac.kernel, 4, interface, ADDRESS) == NetworkPath(1500, SOURCES[interface])


def test_an_interface_without_a_way_there() -> None:
    assert path(Mac().kernel, 4, VPN, ADDRESS) == UNKNOWN


def test_a_way_by_another_interface_is_none() -> None:
    """A local address: the lookup of a bound socket keeps the route by the loopback interface."""
    mac = Mac()
    mac.kernel.add(key("127.0.0.0/8"), LO)
    assert path(mac.kernel, 4, EN0, 0x7F000001) == UNKNOWN


def test_the_answer_to_another_program_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though its request has the same number."""
    monkeypatch.setattr("router.platform.darwin.path._sequence", count(7))
    mac = Mac()
    path(mac.kernel, 4, EN1, ADDRESS)
    mac.kernel.write(get_route(4, ADDRESS, scope=EN1, sequence=8))
    (event,) = mac.kernel.events
    assert isinstance(event, bytes)
    answer = bytearray(event)
    answer[16:20] = (os.getpid() + 1).to_bytes(4, "little")
    answer[4:6] = EN0.to_bytes(2, "little")
    mac.kernel.events = [bytes(answer)]
    assert path(mac.kernel, 4, EN0, ADDRESS) == NetworkPath(1500, SOURCES[EN0])


def test_an_answer_that_does_not_come() -> None:
    kernel = FakeKernel(Link("en0", EN0))
    kernel.write = lambda message: None  # type: ignore[method-assign]
    assert path(kernel, 4, EN0, ADDRESS) == UNKNOWN
    kernel.events = [refuse(errno.ENOBUFS)]
    assert path(kernel, 6, EN0, ADDRESS) == NetworkPath(1280, None)
