"""A value of any size as many small pickles, so that its reader can do other work between any two.

Theory of operation. Long lists, tuples and dicts are cut into slices; each is a piece of its own,
written before the piece that needs it, which has only their number in its place. So a reader keeps
the slices that no piece has taken yet on a stack, and a piece names how many of the last ones are
its own. A million entries are 4,000 pieces, and none takes longer than some milliseconds.

Always true: what is read equals what was written. Only what comes from a process of our own may be
read: a pickle can do anything.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import chain, islice
from struct import Struct
from typing import Any, BinaryIO, Final

SLICE: Final = 256
"""Items of one piece."""
HEADER: Final = Struct("!QQ?")
"""Before each piece: its length in bytes, how many slices it needs, whether it is the value."""

Reference = tuple[str, int]
"""In place of a long container: its type, and how many slices it has."""
_KINDS: Final = {"list": list, "tuple": tuple, "dict": dict}


def write(value: object, stream: BinaryIO) -> None:
    """Raises OSError."""
    _write(value, stream, is_value=True)


def _write(piece: object, stream: BinaryIO, *, is_value: bool) -> None:
    buffer = BytesIO()
    pickler = _Pickler(buffer, stream)
    pickler.dump(piece)
    stream.write(HEADER.pack(buffer.tell(), pickler.slices, is_value))
    stream.write(buffer.getbuffer())


class _Pickler(pickle.Pickler):
    """`slices` counts those that were written to the stream for this piece."""

    def __init__(self, buffer: BytesIO, stream: BinaryIO) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self.slices = 0
        self._stream = stream

    def persistent_id(self, value: Any) -> Reference | None:
        kind = type(value).__name__
        if kind not in _KINDS or type(value) is not _KINDS[kind] or len(value) <= SLICE:
            return None
        items: Iterator[object] = iter(value.items() if kind == "dict" else value)
        before = self.slices
        while items_of_one := list(islice(items, SLICE)):
            _write(items_of_one, self._stream, is_value=False)
            self.slices += 1
        return kind, self.slices - before


class ChunkedUnpickler:
    """Puts together what was written, as it comes in. `value` is it, once `complete`."""

    def __init__(self) -> None:
        self.value: Any = None
        self.complete = False
        self._buffer = bytearray()
        self._slices: list[Any] = []

    def take(self, data: bytes) -> None:
        """The next bytes. Raises pickle.UnpicklingError and whatever else a pickle can that is cut
        off or not ours."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            length, needed, is_value = HEADER.unpack_from(self._buffer)
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            piece = bytes(memoryview(self._buffer)[HEADER.size : end])
            del self._buffer[:end]
            at = len(self._slices) - needed
            own = deque(self._slices[at:])
            del self._slices[at:]
            self._slices.append(_Unpickler(piece, own).load())
            if is_value:
                self.value, self.complete = self._slices.pop(), True


class _Unpickler(pickle.Unpickler):
    def __init__(self, piece: bytes, slices: deque[Iterable[Any]]) -> None:
        super().__init__(BytesIO(piece))
        self._slices = slices

    def persistent_load(self, reference: Any) -> object:
        kind, count = reference
        items = chain.from_iterable([self._slices.popleft() for _ in range(count)])
        return _KINDS[kind](items)
