"""Routes and prefixes on their way to the guard, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.platform.base.errors import PlatformError
from router.platform.privileged.prefix_records import RECORD, pack_records, unpack_records
from router.platform.privileged.route_message import pack_routes, unpack_routes
from router.policy.prefixes import HOST_MASKS, WIDTHS
from router.policy.routes.route import Label, Route
from tests.unit.examples import examples

LABELS = [Label(1500), Label(1420, 1 << 31, ((8, b"\x01\0\0\0"), (16, b"reno\0")))]


@st.composite
def prefixes(draw: st.DrawFn) -> tuple[int, int, int]:
    version = draw(st.sampled_from((4, 6)))
    length = draw(st.integers(0, WIDTHS[version]))
    first = draw(st.integers(0, (1 << WIDTHS[version]) - 1))
    return version, first & ~HOST_MASKS[version][length], length


@settings(max_examples=examples(100))
@given(st.lists(st.tuples(prefixes(), st.sampled_from(LABELS))))
def test_routes_arrive_unchanged(given_: list[tuple[tuple[int, int, int], Label]]) -> None:
    routes = [Route(*prefix, label) for prefix, label in given_]
    labels, records = pack_routes(routes)
    assert unpack_routes(labels, records) == routes


@settings(max_examples=examples(200))
@given(st.binary(max_size=3 * RECORD.size))
def test_any_bytes_are_prefixes_or_refused(data: bytes) -> None:
    try:
        found = list(unpack_records(data))
    except PlatformError:
        return
    assert pack_records(found) == data


@pytest.mark.parametrize(
    "record",
    [
        *((5, 8, 0, 0), (4, 33, 0, 0), (6, 129, 0, 0)),
        *((4, 8, 0, 1), (4, 32, 0, 1 << 32), (6, 127, 0, 1)),
    ],
    ids=str,
)
def test_what_is_no_prefix(record: tuple[int, int, int, int]) -> None:
    version, length, number, first = record
    with pytest.raises(PlatformError, match="no prefix"):
        list(unpack_records(RECORD.pack(version, length, number, first.to_bytes(16, "big"))))


@pytest.mark.parametrize(
    "label",
    [
        *([-1, None, []], [1500, 1 << 128, []], [1500, None, [[0, ""]]]),
        *([1500, None, [[18, "00"]]], [1500, None, [[2, "00" * 17]]], [True, None, []]),
    ],
    ids=str,
)
def test_what_is_no_label(label: Any) -> None:
    with pytest.raises(PlatformError, match="no label"):
        unpack_routes([label], b"")
