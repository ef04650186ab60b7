"""The filter of the capture, by an interpreter of classic BPF; and whether the kernel takes it."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from struct import Struct
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.platform.linux.capture import SNAP, _attach, _length, program

INSTRUCTION: Final = Struct("=HBBI")
PROTOCOL, PACKET_TYPE, INTERFACE = 0xFFFFF000, 0xFFFFF004, 0xFFFFF008
TUN, ETH0 = 9, 3
TO_US, BROADCAST, OUTGOING = 0, 1, 4
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
HOSTS: Final = ("192.0.2.1", "198.51.100.7", "2001:db8::1", "2001:db8::1:0:0:1", "fd00::7")


def run(code: bytes, data: bytes, words: dict[int, int]) -> int:
    """How many bytes a program returns, by the kernel's description of classic BPF
    (Documentation/networking/filter.rst). words: what the kernel has at negative offsets."""
    instructions = list(INSTRUCTION.iter_unpack(code))
    accumulator = at = 0
    while True:
        kind, if_true, if_false, value = instructions[at]
        at += 1
        match kind:
            case 0x20 | 0x28 | 0x30:  # BPF_LD | BPF_ABS of 4, 2 and 1 bytes
                size = {0x20: 4, 0x28: 2, 0x30: 1}[kind]
                if value in words:
                    accumulator = words[value]
                elif value + size > len(data):
                    return 0
                else:
                    accumulator = int.from_bytes(data[value : value + size], "big")
            case 0x15:  # BPF_JMP | BPF_JEQ
                at += if_true if accumulator == value else if_false
            case 0x05:  # BPF_JMP | BPF_JA
                at += value
            case 0x06:  # BPF_RET
                return int(value)
            case _:
                raise AssertionError(f"an instruction that no program here has: {kind:#x}")


def packet(source: str, destination: str) -> bytes:
    ends = ip_address(source).packed + ip_address(destination).packed
    if ip_address(source).version == 4:
        return b"\x45\0\0\x1c" + bytes(8) + ends + bytes(8)
    return b"\x60" + bytes(3) + b"\0\x08\x3a\x40" + ends + bytes(8)


ENDS = st.sampled_from([(a, b) for a in HOSTS for b in HOSTS if (":" in a) == (":" in b)])


@given(
    ENDS,
    st.sampled_from((None, *HOSTS)),
    st.sampled_from((TO_US, BROADCAST, OUTGOING)),
    st.sampled_from((TUN, ETH0)),
    st.sampled_from((IPV4, IPV6, ARP)),
)
def test_what_passes_is_what_it_is_for(
    ends: tuple[str, str], host: str | None, kind: int, interface: int, protocol: int
) -> None:
    version = IPV6 if ":" in ends[0] else IPV4
    protocol = ARP if protocol == ARP else version
    words = {PROTOCOL: protocol, PACKET_TYPE: kind, INTERFACE: interface}
    code = program(TUN, None if host is None else ip_address(host).packed)
    wanted = kind == TO_US and interface != TUN and protocol == version
    wanted &= host is None or host in ends
    assert run(code, packet(*ends), words) == (SNAP if wanted else 0)


@given(st.sampled_from((None, *HOSTS)))
def test_every_jump_is_forward_and_inside(host: str | None) -> None:
    """The kernel refuses others, and only where there is a kernel."""
    instructions = list(
        INSTRUCTION.iter_unpack(program(TUN, None if host is None else ip_address(host).packed))
    )
    for at, (kind, if_true, if_false, value) in enumerate(instructions):
        jumps = {0x15: (if_true, if_false), 0x05: (value,)}.get(kind, ())
        assert all(at + 1 + jump < len(instructions) for jump in jumps)
    assert instructions[-1][0] == 0x06


@pytest.mark.parametrize("host", [None, *HOSTS])
def test_the_kernel_takes_it(host: str | None) -> None:
    """On a UDP socket, which needs no rights: there no packet has come by an interface of type
    PACKET_HOST with an IP protocol, so none passes, and the program is valid."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        _attach(receiver, program(TUN, None if host is None else ip_address(host).packed))


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (packet("192.0.2.1", "198.51.100.7"), 28),
        (b"\x45\0\x05\xdc" + bytes(24), 1500),
        (b"\x60" + bytes(3) + b"\x05\0" + bytes(34), 40 + 1280),
        (b"\x45\0\0\x14" + bytes(30), 34),
        (b"\x45", 1),
        (b"", 0),
    ],
)
def test_the_length_of_a_packet_of_which_the_first_bytes_are_there(
    data: bytes, length: int
) -> None:
    assert _length(data) == length
