"""Values of which some bits are known, compared with all values that they can have."""

from __future__ import annotations

from itertools import product

import pytest

from router.policy.host_rules.register import UNKNOWN, Register, known

ZEROS = 0xF8
"""The first five bits are known zeros, so that all values can be tried."""


def candidates(register: Register) -> set[int]:
    return {
        value
        for value in range(8)
        if not (value ^ register.value[0]) & register.known[0]
        and not (register.excluded and value == register.excluded[0])
    }


@pytest.mark.parametrize("excluded", [b"", b"\x05"])
def test_every_outcome_of_a_comparison_is_found(excluded: bytes) -> None:
    for value, known_bits, mask, flip in product(range(8), repeat=4):
        register = Register(bytes([value]), bytes([known_bits | ZEROS]), excluded)
        masked = register.masked(bytes([mask]), bytes([flip]))
        possible = {each & mask ^ flip for each in candidates(register)}
        for operand in range(8):
            if operand in possible:
                assert masked.may_equal(bytes([operand]))
            if possible - {operand}:
                assert masked.may_differ(bytes([operand]))


def test_what_is_known_is_decided() -> None:
    register = known(b"eth0\0\0")
    assert register.may_equal(b"eth0")
    assert not register.may_differ(b"eth0")
    assert not register.may_equal(b"eth1")
    assert register.may_differ(b"eth1")
    assert not register.masked(b"\xff\xff", b"\0\0").may_equal(b"wg")
    assert not register.masked(b"\xff\xff", b"\0\0").may_differ(b"et")


def test_nothing_is_known_behind_the_end() -> None:
    assert known(b"\x01").may_equal(b"\x01\x02")
    assert known(b"\x01").may_differ(b"\x01\x02")
    assert not known(b"\x01").may_equal(b"\x02\x02")


def test_what_is_masked_out_is_zero() -> None:
    masked = UNKNOWN.masked(b"\xf0", b"\0")
    assert not masked.may_equal(b"\x01")
    assert masked.may_equal(b"\x10")
    assert masked.may_differ(b"\x10")


def test_an_excluded_start_survives_a_mask_that_keeps_it() -> None:
    register = Register(excluded=b"\x7f")
    assert not register.may_equal(b"\x7f\0\0\x01")
    assert not register.masked(b"\xff\x80", b"\0\0").may_equal(b"\x7f\0")
    assert register.masked(b"\xfe\x80", b"\0\0").may_equal(b"\x7e\0")
