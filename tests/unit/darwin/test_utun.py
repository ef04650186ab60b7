"""Opening a utun, and its frames: against a fake of the kernel control, which refuses what the
kernel does, and a pair of sockets that stands for the device."""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final

import pytest

from router.platform.base.errors import PlatformError
from router.platform.base.tun import TunDevice
from router.platform.darwin import constants
from router.platform.darwin.utun import CTL_INFO, UtunDevice, open_utun
from router.wire import offload
from tests.unit.darwin import layouts
from tests.unit.darwin.fake_control import FakeSystem

ADDRESSES: Final = (IPv4Interface("192.168.7.1/30"), IPv6Interface("fd77::1/126"))
V4_PACKET = bytes([0x45]) + bytes(15) + bytes([198, 51, 100, 1]) + b"data"
V6_PACKET = bytes([0x60]) + bytes(39) + b"data"


@pytest.fixture
def system() -> Iterator[FakeSystem]:
    found = FakeSystem()
    yield found
    for each in found.opened:
        each.device.close()
        each.ours.close()


def opened(system: FakeSystem, name: str | None = "utun11") -> Iterator[TunDevice]:
    device = open_utun(system, name, 1400, ADDRESSES)
    yield device
    device.close()


@pytest.fixture
def device(system: FakeSystem) -> Iterator[TunDevice]:
    yield from opened(system)


def test_a_utun_by_name_with_addresses_mtu_and_queue(system: FakeSystem, device: TunDevice) -> None:
    assert (device.name, device.index, device.mtu) == ("utun11", 21, 1400)
    assert system.configured == [
        "utun11 mtu 1400 up",
        "utun11 inet 192.168.7.1 192.168.7.2 netmask 255.255.255.255",
        "utun11 inet6 fd77::1 prefixlen 126",
    ]
    assert system.opened[0].unit == 12, "units count from 1, names from 0"
    assert system.opened[0].pending == 512
    assert not device.offloads
    with pytest.raises(BlockingIOError):
        device.receive()


def test_any_utun(system: FakeSystem) -> None:
    for device in opened(system, None):
        assert device.name == "utun2"


def test_structures_and_numbers_of_the_control() -> None:
    assert ctypes.sizeof(layouts.CtlInfo) == CTL_INFO.size == 100
    size = ctypes.sizeof(layouts.CtlInfo)
    in_and_out = 0xC0000000  # sys/ioccom.h, _IOWR; then the size, the group and the number
    assert in_and_out | size << 16 | ord("N") << 8 | 3 == constants.CTLIOCGINFO


@pytest.mark.parametrize(
    ("name", "words"),
    [("tun11", "write 'name: utun11'"), ("utun", "and a number"), ("utun1", "is in use")],
)
def test_a_name_that_cannot_be_had(system: FakeSystem, name: str, words: str) -> None:
    with pytest.raises(PlatformError, match=words):
        open_utun(system, name, 1500, ADDRESSES)
    assert all(each.is_closed for each in system.opened)


def test_without_root(system: FakeSystem) -> None:
    system.is_root = False
    with pytest.raises(PlatformError, match="run it by sudo"):
        open_utun(system, None, 1500, ADDRESSES)
    assert system.opened[0].is_closed


def test_an_address_that_is_refused(system: FakeSystem) -> None:
    system.refused = "inet6"
    with pytest.raises(PlatformError, match="Can't assign address"):
        open_utun(system, "utun11", 1500, ADDRESSES)
    assert system.opened[0].is_closed
    assert 12 not in system.taken, "the device goes with its descriptor"


@pytest.mark.parametrize(
    ("family", "packet"), [("00000002", V4_PACKET), ("0000001e", V6_PACKET)], ids=["v4", "v6"]
)
def test_frames_have_their_family(
    system: FakeSystem, device: TunDevice, family: str, packet: bytes
) -> None:
    kernel = system.opened[0].device
    kernel.send(bytes.fromhex(family) + packet)
    size = device.receive()
    assert device.frame[:size] == offload.NOTHING_LEFT + packet
    device.send(size)
    assert kernel.recv(2000) == bytes.fromhex(family) + packet
    device.write(bytearray(packet))
    assert kernel.recv(2000) == bytes.fromhex(family) + packet


def test_packets_to_its_own_address_are_written_back(system: FakeSystem, device: TunDevice) -> None:
    kernel = system.opened[0].device
    own = V4_PACKET[:16] + bytes([192, 168, 7, 1]) + b"data"
    kernel.send(bytes.fromhex("00000002") + own)
    kernel.send(bytes.fromhex("00000002") + V4_PACKET)
    size = device.receive()
    assert device.frame[offload.HEADER : size] == V4_PACKET
    assert kernel.recv(2000) == bytes.fromhex("00000002") + own


def test_a_utun_that_is_gone(system: FakeSystem, device: TunDevice) -> None:
    system.opened[0].device.send(b"")
    with pytest.raises(OSError, match="the utun is gone"):
        device.receive()


def test_it_takes_no_frames_of_parts(device: TunDevice) -> None:
    with pytest.raises(OSError, match="frame of 2 parts") as caught:
        device.write_parts([offload.NOTHING_LEFT, V4_PACKET])
    assert caught.value.errno == errno.EINVAL


def test_a_short_frame_is_no_packet() -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel:
        device = UtunDevice(ours.detach(), name="utun11", index=21, mtu=1500)
        kernel.send(bytes(4))
        with pytest.raises(OSError, match="gone"):
            device.receive()
        device.close()
