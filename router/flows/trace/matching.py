"""A filter compiled to functions: one for the packet alone, and one for packet and decision.

Always true: `may_match` is true of each packet that `matches` is true of, whatever is decided about
it; where the filter has no word about decisions, both are the same.

The functions read the bytes of a header where they stand; a packet that belongs to no trace
costs some tenths of a microsecond.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from router.flows.trace.decision import Decision
from router.flows.trace.fields import Buffer, read
from router.flows.trace.words import (
    And,
    Dropped,
    Net,
    Not,
    Or,
    Policy,
    Port,
    Primitive,
    Protocol,
    RuleNumber,
    Tree,
)
from router.policy.match.traffic import PROTOCOL_NUMBERS
from router.wire import ip
from router.wire.headers import V4_PROTOCOL, V6_NEXT_HEADER

Test = Callable[[Buffer, int, int], bool]
"""By a buffer, and where in it the packet begins and ends."""
Decided = Callable[[Buffer, int, int, Decision], bool]
"""The same, and what was decided about the packet."""
BITS: Final = {4: 32, 6: 128}


class Filter:
    """A compiled tree. needs_decision: whether it has a word about decisions."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.needs_decision = _is_about_decisions(tree)
        self._may_match = _optimistic(tree)
        self._matches = _exact(tree)

    def may_match(self, data: Buffer, start: int, end: int) -> bool:
        """Whether the packet in data[start:end] may be one of those that are meant."""
        if end - start < ip.IPV4_HEADER or (data[start] >> 4 == 6 and end - start < ip.IPV6_HEADER):
            return False
        return self._may_match(data, start, end)

    def matches(self, data: Buffer, start: int, end: int, decision: Decision) -> bool:
        """Whether it is, with what was decided about it."""
        if not self.may_match(data, start, end):
            return False
        return not self.needs_decision or self._matches(data, start, end, decision)


def _is_about_decisions(tree: Tree) -> bool:
    if isinstance(tree, Not):
        return _is_about_decisions(tree.of)
    if isinstance(tree, Net | Port | Protocol | Policy | RuleNumber | Dropped):
        return isinstance(tree, Policy | RuleNumber | Dropped)
    return any(map(_is_about_decisions, tree.all if isinstance(tree, And) else tree.any))


def _exact(tree: Tree) -> Decided:
    if isinstance(tree, And):
        parts = [_exact(each) for each in tree.all]
        return lambda *packet: all(test(*packet) for test in parts)
    if isinstance(tree, Or):
        parts = [_exact(each) for each in tree.any]
        return lambda *packet: any(test(*packet) for test in parts)
    if isinstance(tree, Not):
        contrary = _exact(tree.of)
        return lambda *packet: not contrary(*packet)
    if _is_about_decisions(tree):
        return lambda _data, _start, _end, decision: _is_of(tree, decision)
    test = _test_of(tree)
    return lambda data, start, end, _decision: test(data, start, end)


def _is_of(primitive: Primitive, decision: Decision) -> bool:
    match primitive:
        case Policy(name):
            return decision.policy == name
        case RuleNumber(number):
            return decision.rule == number
        case _:
            return decision.reason is not None


def _optimistic(tree: Tree) -> Test:
    if isinstance(tree, And):
        return _all([_optimistic(each) for each in tree.all])
    if isinstance(tree, Not):
        if _is_about_decisions(tree.of):
            return _always
        test = _test_of(tree.of)
        return lambda data, start, end: not test(data, start, end)
    if isinstance(tree, Net | Port | Protocol | Policy | RuleNumber | Dropped):
        return _always if _is_about_decisions(tree) else _test_of(tree)
    tests = [_optimistic(each) for each in tree.any]
    return lambda data, start, end: any(test(data, start, end) for test in tests)


def _all(tests: list[Test]) -> Test:
    if not tests:
        return _always
    return lambda data, start, end: all(test(data, start, end) for test in tests)


def _always(_data: Buffer, _start: int, _end: int) -> bool:
    return True


def _test_of(primitive: Primitive) -> Test:
    match primitive:
        case Net(network) if network.prefixlen == BITS[network.version]:
            return _host(network.version, network.network_address.packed)
        case Net(network):
            shift = BITS[network.version] - network.prefixlen
            return _network(network.version, int(network.network_address) >> shift, shift)
        case Port(number):
            return _port(number)
        case Protocol(name):
            return _protocol(PROTOCOL_NUMBERS[name])
        case _:
            return _always


def _host(version: int, address: bytes) -> Test:
    if version == 4:

        def is_v4(data: Buffer, start: int, _end: int) -> bool:
            at = start + 12
            return (data[at : at + 4] == address or data[at + 4 : at + 8] == address) and data[
                start
            ] >> 4 == 4

        return is_v4

    def is_v6(data: Buffer, start: int, _end: int) -> bool:
        at = start + 8
        return data[start] >> 4 == 6 and (
            data[at : at + 16] == address or data[at + 16 : at + 32] == address
        )

    return is_v6


def _network(version: int, prefix: int, shift: int) -> Test:
    at, size = (12, 4) if version == 4 else (8, 16)

    def is_in(data: Buffer, start: int, _end: int) -> bool:
        if data[start] >> 4 != version:
            return False
        first, second = start + at, start + at + size
        return (
            int.from_bytes(data[first:second], "big") >> shift == prefix
            or int.from_bytes(data[second : second + size], "big") >> shift == prefix
        )

    return is_in


def _port(number: int) -> Test:
    def has(data: Buffer, start: int, end: int) -> bool:
        fields = read(data, start, end)
        if fields is None or fields.kind is not None:
            return False
        return number in (fields.source_port, fields.destination_port)

    return has


def _protocol(numbers: tuple[int, ...]) -> Test:
    v4, v6 = numbers[0], numbers[-1]

    def has(data: Buffer, start: int, end: int) -> bool:
        if data[start] >> 4 == 4:
            return data[start + V4_PROTOCOL] == v4
        first = data[start + V6_NEXT_HEADER]
        if first in (ip.TCP, ip.UDP, ip.ICMPV6):
            return first == v6
        fields = read(data, start, end)
        return fields is not None and fields.protocol == v6

    return has
