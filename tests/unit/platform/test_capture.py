"""The filter of the capture, by an interpreter of classic BPF; and whether the kernel takes it."""

from __future__ import annotations

import socket
from collections.abc import Collection
from struct import Struct
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment

from router.flows.trace.matching import Filter
from router.flows.trace.words import EVERYTHING, parse, policies, rules
from router.platform.linux.capture import attach_filter
from router.platform.linux.capture_filter import LONGEST, SNAP, program
from tests.unit.flows.trace.examples import packets, words

INSTRUCTION: Final = Struct("=HBBI")
PROTOCOL, PACKET_TYPE, INTERFACE = 0xFFFFF000, 0xFFFFF004, 0xFFFFF008
TUN, ETH0, WG0 = 9, 3, 4
TO_US, BROADCAST, OUTGOING = 0, 1, 4
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
SIZES: Final = {0x20: 4, 0x28: 2, 0x30: 1}
"""Of BPF_LD | BPF_ABS."""


def run(code: bytes, data: bytes, words: dict[int, int]) -> int:  # noqa: PLR0912
    """How many bytes a program returns, by the kernel's description of classic BPF
    (Documentation/networking/filter.rst). words: what the kernel has at negative offsets."""
    instructions = list(INSTRUCTION.iter_unpack(code))
    accumulator = index = at = 0
    while True:
        kind, if_true, if_false, value = instructions[at]
        at += 1
        if kind in SIZES or kind == 0x48:  # BPF_LD | BPF_H | BPF_IND
            size, begin = SIZES.get(kind, 2), value + (index if kind == 0x48 else 0)
            if value in words:
                accumulator = words[value]
            elif begin + size > len(data):
                return 0
            else:
                accumulator = int.from_bytes(data[begin : begin + size], "big")
            continue
        match kind:
            case 0x80:  # BPF_LD | BPF_LEN
                accumulator = len(data)
            case 0xB1:  # BPF_LDX | BPF_B | BPF_MSH
                index = (data[value] & 0x0F) * 4
            case 0x07:  # BPF_MISC | BPF_TAX
                index = accumulator
            case 0x87:  # BPF_MISC | BPF_TXA
                accumulator = index
            case 0x04:  # BPF_ALU | BPF_ADD
                accumulator += value
            case 0x54:  # BPF_ALU | BPF_AND
                accumulator &= value
            case 0x15:  # BPF_JMP | BPF_JEQ
                at += if_true if accumulator == value else if_false
            case 0x35:  # BPF_JMP | BPF_JGE
                at += if_true if accumulator >= value else if_false
            case 0x3D:  # BPF_JMP | BPF_JGE | BPF_X
                at += if_true if accumulator >= index else if_false
            case 0x45:  # BPF_JMP | BPF_JSET
                at += if_true if accumulator & value else if_false
            case 0x06:  # BPF_RET
                return int(value)
            case _:
                raise AssertionError(f"an instruction that no program here has: {kind:#x}")


def passes(
    text: str, data: bytes, kind: int = TO_US, interface: int = ETH0, by: Any = None
) -> bool:
    words = {
        PROTOCOL: IPV4 if data[0] >> 4 == 4 else IPV6,
        PACKET_TYPE: kind,
        INTERFACE: interface,
    }
    found = run(program(TUN, by, parse(text)), data, words)
    assert found in (0, SNAP)
    return found == SNAP


@given(words(), packets())
@example("not port 443", IP(src="192.0.2.1", dst="192.0.2.2", frag=3, proto=6) / b"\1\xbb\1\xbb")
@example("port 443", IP(src="192.0.2.1", dst="192.0.2.2", options=b"\1" * 8) / TCP(dport=443))
@example("not port 443", IP(src="192.0.2.1", dst="192.0.2.2", proto=17, len=22) / b"\1\xbb")
@example("not udp", IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrFragment(offset=9) / b"abcdefgh")
@example("not tcp", IPv6(src="fd00::1", dst="fd00::2", nh=132) / bytes(12))
@example("port 443", IPv6(src="fd00::1", dst="fd00::2", nh=17) / b"\1\xbb")
@example("not net 192.0.2.0/25 and udp", IP(src="192.0.2.200", dst="192.0.3.1") / UDP())
def test_what_may_match_passes(text: str, packet: Any) -> None:
    """And nothing else, unless what decides stands behind an extension header."""
    tree, data = parse(text), bytes(packet)
    may_match = Filter(tree).may_match(data, 0, len(data))
    is_known = data[0] >> 4 == 4 or data[6] in (6, 17, 58)
    if is_known and not (policies(tree) or rules(tree) or "dropped" in text):
        assert passes(text, data) == may_match
    else:
        assert passes(text, data) >= may_match


@given(
    packets(),
    st.sampled_from((TO_US, BROADCAST, OUTGOING)),
    st.sampled_from((TUN, ETH0, WG0)),
    st.sampled_from((None, (), (ETH0,), (ETH0, WG0))),
)
def test_where_it_comes_from(
    packet: Any, kind: int, interface: int, by: Collection[int] | None
) -> None:
    wanted = kind == TO_US and interface != TUN and (by is None or interface in by)
    assert passes("", bytes(packet), kind, interface, by) == wanted


def test_what_is_not_ip_is_refused() -> None:
    code = program(TUN, None, EVERYTHING)
    assert run(code, bytes(40), {PROTOCOL: ARP, PACKET_TYPE: TO_US, INTERFACE: ETH0}) == 0


def many(hosts: int) -> str:
    return "tcp and (" + " or ".join(f"host fd00::{host:x}:1" for host in range(hosts)) + ")"


def test_a_long_filter() -> None:
    hosts = 14
    for host in (0, hosts - 1):
        assert passes(many(hosts), bytes(IPv6(dst=f"fd00::{host:x}:1", src="fd00::") / TCP()))
        assert not passes(many(hosts), bytes(IPv6(dst=f"fd00::{host:x}:1", src="fd00::") / UDP()))
    assert not passes(many(hosts), bytes(IPv6(dst="fd00::ffff:2", src="fd00::") / TCP()))


def test_one_that_is_too_long_lets_everything_pass() -> None:
    assert len(program(TUN, None, parse(many(500)))) <= LONGEST * INSTRUCTION.size
    assert passes(many(500), bytes(IPv6(dst="fd00::ffff:2", src="fd00::") / UDP()))


@given(words(), st.sampled_from((None, (), (ETH0,))))
def test_every_jump_is_forward_and_inside(text: str, by: Collection[int] | None) -> None:
    """The kernel refuses others, and only where there is a kernel."""
    instructions = list(INSTRUCTION.iter_unpack(program(TUN, by, parse(text))))
    for at, (kind, if_true, if_false, _) in enumerate(instructions):
        jumps = () if kind == 0x06 else (if_true, if_false)
        assert all(at + 1 + jump < len(instructions) for jump in jumps)
    assert instructions[-1][0] == 0x06


@given(words(), st.sampled_from((None, (), (ETH0, WG0))))
def test_the_kernel_takes_it(text: str, by: Collection[int] | None) -> None:
    """On a UDP socket, which needs no rights: there no packet has come by an interface of type
    PACKET_HOST with an IP protocol, so none passes, and the program is valid."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        attach_filter(receiver, program(TUN, by, parse(text)))


@pytest.mark.parametrize("hosts", [14, 500])
def test_the_kernel_takes_a_long_one(hosts: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        attach_filter(receiver, program(TUN, None, parse(many(hosts))))
