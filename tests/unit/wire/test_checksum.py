"""The checksum against the obvious word-by-word sum of RFC 1071, and against known packets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.wire.checksum import (
    checksum,
    is_valid,
    ones_complement_sum,
    pseudo_header,
    update,
)

words = st.integers(0, 0xFFFF)


def slow_sum(data: bytes) -> int:
    """RFC 1071, section 4.1, as it stands there: add words, fold the carries."""
    if len(data) % 2:
        data += b"\0"
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=200))
def test_sum_equals_the_word_by_word_sum(data: bytes) -> None:
    assert ones_complement_sum(data) == slow_sum(data)


def test_both_zeros_are_distinguished() -> None:
    assert ones_complement_sum(bytes(8)) == 0
    assert ones_complement_sum(b"\xff\xff") == 0xFFFF
    assert not is_valid(bytes(8))
    assert is_valid(b"\xff\xff" + bytes(6))


@given(st.binary(min_size=2, max_size=80))
def test_a_packet_with_its_checksum_is_valid(data: bytes) -> None:
    if len(data) % 2:
        data += b"\0"
    assert is_valid(checksum(data).to_bytes(2, "big") + data)


@given(st.binary(min_size=4, max_size=80), words, st.data())
def test_update_is_the_checksum_computed_again(data: bytes, new: int, draw: st.DataObject) -> None:
    if len(data) % 2:
        data += b"\0"
    at = draw.draw(st.integers(0, len(data) // 2 - 1)) * 2
    old = int.from_bytes(data[at : at + 2], "big")
    changed = data[:at] + new.to_bytes(2, "big") + data[at + 2 :]
    after = update(checksum(data), old, new)
    if any(changed):
        assert after.to_bytes(2, "big") + changed == after.to_bytes(2, "big") + changed
        assert is_valid(after.to_bytes(2, "big") + changed)
    if any(data) and any(changed):
        assert after == checksum(changed)


@given(words, words, words, words)
def test_update_keeps_a_wrong_checksum_wrong(data: int, old: int, new: int, error: int) -> None:
    packet = data.to_bytes(2, "big") + old.to_bytes(2, "big")
    field = checksum(packet) ^ error
    valid = is_valid(field.to_bytes(2, "big") + packet)
    changed = packet[:2] + new.to_bytes(2, "big")
    after = update(field, old, new).to_bytes(2, "big") + changed
    if any(after) and any(packet) and field not in (0, 0xFFFF):
        assert is_valid(after) == valid


def test_the_example_of_rfc_1071() -> None:
    assert ones_complement_sum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2


def test_pseudo_header_counts_addresses_length_and_protocol() -> None:
    source, destination = bytes(range(16)), bytes(range(16, 32))
    spelled = source + destination + (40).to_bytes(4, "big") + bytes(3) + b"\x3a"
    assert pseudo_header(source, destination, 40, 58) == slow_sum(spelled)
