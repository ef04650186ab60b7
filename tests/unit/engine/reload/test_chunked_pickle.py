"""A value pickled in chunks is the same value, however the bytes are divided."""

from __future__ import annotations

import pickle
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.engine.reload.chunked_pickle import SLICE, ChunkedUnpickler, write

LONG = 3 * SLICE + 1
EXAMPLES: list[Any] = [
    None,
    [],
    list(range(SLICE)),
    list(range(LONG)),
    tuple(range(LONG)),
    {number: str(number) for number in range(LONG)},
    [list(range(LONG)), "between", [tuple(range(LONG))] * 3, {1: list(range(LONG))}],
    [[[number] * LONG, number] for number in range(LONG // 10)],
]


def written(value: object) -> bytes:
    stream = BytesIO()
    write(value, stream)
    return stream.getvalue()


@pytest.mark.parametrize("value", EXAMPLES, ids=range(len(EXAMPLES)))
@given(cuts=st.lists(st.floats(0, 1), max_size=8))
def test_the_value_is_the_same(value: object, cuts: list[float]) -> None:
    data = written(value)
    places = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
    assembly = ChunkedUnpickler()
    for begin, end in pairwise(places):
        assert not assembly.complete or begin == len(data)
        assembly.take(data[begin:end])
    assert assembly.complete
    assert assembly.value == value
    assert type(assembly.value) is type(value)


def test_a_truncated_pickle_is_never_complete() -> None:
    data = written(EXAMPLES[-2])
    for end in range(0, len(data), 97):
        assembly = ChunkedUnpickler()
        assembly.take(data[:end])
        assert not assembly.complete


def test_no_chunk_is_large() -> None:
    """At any total size: the event loop runs other callbacks between two chunks."""
    sizes = []

    class Stream(BytesIO):
        def write(self, data: Any) -> int:
            sizes.append(len(data))
            return super().write(data)

    write([{number: [number] * 10} for number in range(100_000)], Stream())
    assert max(sizes) < 64 * 1024
    assert len(sizes) > 2 * 100_000 // SLICE


def test_invalid_data_raises() -> None:
    assembly = ChunkedUnpickler()
    with pytest.raises((pickle.UnpicklingError, ValueError, EOFError, KeyError)):
        assembly.take(b"\0" * 7 + b"\5" + b"\0" * 9 + b"junk!" * 3)
