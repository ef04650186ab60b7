"""The kernel's filter of a capture (classic BPF, linux/filter.h), compiled from the filter of a
trace.

Always true: it lets pass what comes from outside to this machine, is IP, and may match; of a word
that the bytes of a packet do not answer, as those about decisions or about what stands behind IPv6
extension headers, it is assumed that it matches. What is refused costs no copy.

A program is written from its end, so that all that a jump leads to is there before it.

Must not know: sockets; what is decided about a packet.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from struct import Struct
from typing import Final

from router.flows.trace.simplified import simplified
from router.flows.trace.words import EVERYTHING, And, Net, Not, Or, Port, Protocol, Tree
from router.policy.match.traffic import PROTOCOL_NUMBERS
from router.wire import ip
from router.wire.headers import PORTS, V4_FRAGMENT, V4_PROTOCOL, V6_NEXT_HEADER

SNAP: Final = 512
"""Bytes of a packet that are copied."""
LONGEST: Final = 250
"""Instructions of a program: the kernel has room for some 280 (net.core.optmem_max before Linux
6.7), and a conditional jump skips 255 at most. Of a longer filter no word is compiled."""

LD_BYTE, LD_HALF, LD_WORD = 0x30, 0x28, 0x20
"""BPF_LD | BPF_ABS, with the size of what is loaded."""
LD_HALF_BEHIND: Final = 0x48
"""BPF_LD | BPF_H | BPF_IND: from the offset in X."""
LD_LENGTH: Final = 0x80
LDX_V4_HEADER: Final = 0xB1
"""BPF_LDX | BPF_B | BPF_MSH: the length of an IPv4 header."""
TAX, TXA, ADD, AND = 0x07, 0x87, 0x04, 0x54
JUMP_IF_EQUAL, JUMP_IF_ANY_BIT = 0x15, 0x45
JUMP_UNLESS_LESS, JUMP_UNLESS_LESS_THAN_X = 0x35, 0x3D
RETURN: Final = 0x06
ANCILLARY: Final = 0xFFFFF000
"""SKF_AD_OFF; behind it stand the protocol, the packet's type and its interface."""
PROTOCOL, PACKET_TYPE, INTERFACE = ANCILLARY, ANCILLARY + 4, ANCILLARY + 8
PACKET_HOST: Final = 0
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
ADDRESSES: Final = {4: (12, 16), 6: (8, 24)}
"""Where source and destination stand, by IP version."""
LATER_FRAGMENT: Final = 0x1FFF
WORD: Final = 4

_INSTRUCTION: Final = Struct("=HBBI")


def program(not_by: int, by: Collection[int] | None, tree: Tree) -> bytes:
    """The instructions. not_by: the index of the interface whose packets are left out. by: those of
    the interfaces whose packets pass; None: all others."""
    for wanted in (tree, EVERYTHING):
        written = _Program()
        written.write(not_by, by, wanted)
        if written.length <= LONGEST:
            break
    return written.instructions()


class _Program:
    """Positions count from the end; that of an instruction is how many there are from it on."""

    def __init__(self) -> None:
        self._backwards: list[tuple[int, int, int, int]] = []

    @property
    def length(self) -> int:
        return len(self._backwards)

    def instructions(self) -> bytes:
        return b"".join(_INSTRUCTION.pack(*each) for each in reversed(self._backwards))

    def write(self, not_by: int, by: Collection[int] | None, tree: Tree) -> None:
        """All of it."""
        refuse, accept = self._add(RETURN, 0), self._add(RETURN, SNAP)
        v6, v4 = (self._tree(_of_version(tree, each), each, accept, refuse) for each in (6, 4))
        self._branch(JUMP_IF_EQUAL, ETH_P_IPV6, v6, refuse)
        self._branch(JUMP_IF_EQUAL, ETH_P_IP, v4, self.length)
        entry = self._add(LD_HALF, PROTOCOL)
        if by is not None:
            entry = self._alternatives(INTERFACE, LD_WORD, sorted(by), entry, refuse)
        else:
            self._branch(JUMP_IF_EQUAL, not_by, refuse, entry)
            entry = self._add(LD_WORD, INTERFACE)
        self._branch(JUMP_IF_EQUAL, PACKET_HOST, entry, refuse)
        self._add(LD_WORD, PACKET_TYPE)

    def _add(self, code: int, value: int = 0, if_true: int = 0, if_false: int = 0) -> int:
        """The position of the instruction."""
        self._backwards.append((code, if_true, if_false, value))
        return self.length

    def _branch(self, code: int, value: int, yes: int, no: int) -> int:
        """A conditional jump."""
        return self._add(code, value, self.length - yes, self.length - no)

    def _tree(self, tree: Tree, version: int, yes: int, no: int) -> int:
        """A test of packets of a version; the position where it begins."""
        match tree:
            case And(parts):
                for part in reversed(parts):
                    yes = self._tree(part, version, yes, no)
                return yes
            case Or(parts):
                for part in reversed(parts):
                    no = self._tree(part, version, yes, no)
                return no
            case Not(primitive):
                return self._primitive(primitive, version, no, yes, yes)
            case _:
                return self._primitive(tree, version, yes, no, yes)

    def _primitive(self, tree: Tree, version: int, yes: int, no: int, unknown: int) -> int:
        match tree:
            case Net(network):
                first, mask = network.network_address.packed, network.netmask.packed
                source, destination = ADDRESSES[version]
                no = self._address(destination, first, mask, yes, no)
                return self._address(source, first, mask, yes, no)
            case Protocol(name) if version == 4:
                numbers = PROTOCOL_NUMBERS[name]
                return self._alternatives(V4_PROTOCOL, LD_BYTE, numbers[:1], yes, no)
            case Protocol(name):
                return self._v6_protocol(PROTOCOL_NUMBERS[name][-1], yes, no, unknown)
            case Port(number) if version == 4:
                return self._v4_port(number, yes, no)
            case Port(number):
                return self._v6_port(number, yes, no, unknown)
            case _:
                return unknown

    def _address(self, at: int, value: bytes, mask: bytes, yes: int, no: int) -> int:
        """Whether it is `value` where `mask` has ones."""
        for offset in reversed(range(0, len(value), WORD)):
            word, ones = (int.from_bytes(each[offset : offset + WORD]) for each in (value, mask))
            if ones:
                self._branch(JUMP_IF_EQUAL, word, yes, no)
                if ones != 0xFFFFFFFF:
                    self._add(AND, ones)
                yes = self._add(LD_WORD, at + offset)
        return yes

    def _v6_protocol(self, number: int, yes: int, no: int, unknown: int) -> int:
        others = [each for each in (ip.TCP, ip.UDP, ip.ICMPV6) if each != number]
        no = self._alternatives(V6_NEXT_HEADER, LD_BYTE, others, no, unknown)
        return self._alternatives(V6_NEXT_HEADER, LD_BYTE, [number], yes, no)

    def _v4_port(self, number: int, yes: int, no: int) -> int:
        """Nothing is read behind the end of a packet, upon which the kernel would refuse it."""
        self._branch(JUMP_IF_EQUAL, number, yes, no)
        self._add(LD_HALF_BEHIND, 2)
        self._branch(JUMP_IF_EQUAL, number, yes, self.length)
        self._add(LD_HALF_BEHIND, 0)
        self._add(LDX_V4_HEADER)
        self._branch(JUMP_UNLESS_LESS_THAN_X, 0, self.length, no)
        self._add(LD_LENGTH)
        self._add(TAX)
        self._add(ADD, PORTS)
        self._add(TXA)
        self._add(LDX_V4_HEADER)
        self._branch(JUMP_IF_ANY_BIT, LATER_FRAGMENT, no, self.length)
        whole = self._add(LD_HALF, V4_FRAGMENT)
        return self._alternatives(V4_PROTOCOL, LD_BYTE, [ip.TCP, ip.UDP], whole, no)

    def _v6_port(self, number: int, yes: int, no: int, unknown: int) -> int:
        at = ip.IPV6_HEADER
        found = self._alternatives(at + 2, LD_HALF, [number], yes, no)
        found = self._alternatives(at, LD_HALF, [number], yes, found)
        self._branch(JUMP_UNLESS_LESS, at + PORTS, found, no)
        whole = self._add(LD_LENGTH)
        other = self._alternatives(V6_NEXT_HEADER, LD_BYTE, [ip.ICMPV6], no, unknown)
        return self._alternatives(V6_NEXT_HEADER, LD_BYTE, [ip.TCP, ip.UDP], whole, other)

    def _alternatives(self, at: int, load: int, values: Sequence[int], yes: int, no: int) -> int:
        """Whether one of them stands there."""
        for value in reversed(values):
            no = self._branch(JUMP_IF_EQUAL, value, yes, no)
        if not values:
            return no
        return self._add(load, at)


def _of_version(tree: Tree, version: int) -> Tree:
    """What is left of it for packets of a version."""

    def known(primitive: object) -> bool | None:
        is_other = isinstance(primitive, Net) and primitive.network.version != version
        return False if is_other else None

    return simplified(tree, known)
