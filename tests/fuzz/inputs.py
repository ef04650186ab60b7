"""Inputs of a target: those of the corpus, and what becomes of them by damage and by mixture.

Always true: the same seed makes the same input of the same corpus.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
MOST_EDITS: Final = 6
ANYTHING: Final = 0.1
"""The share of inputs that have nothing of the corpus."""
EDGES: Final = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0",
    b"\xff\xff",
    b"\0\1",
    b"\x7f\xff\xff\xff",
)


def corpus(target: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def keep(target: str, data: bytes) -> Path:
    """Add an input to the corpus, for a test to fail by until the fault is mended."""
    path = CORPUS / target / f"found-{len(corpus(target))}"
    path.write_bytes(data)
    return path


def mutated(seeds: Sequence[bytes], seed: int) -> bytes:
    """An input made of some of `seeds`."""
    random = Random(seed)
    if random.random() < ANYTHING:
        return random.randbytes(random.randrange(200))
    data = b"".join(random.choices(seeds, k=random.choice((1, 1, 2, 8))))
    for _ in range(random.randint(1, MOST_EDITS)):
        data = _edited(data, random.choice(seeds), random)
    return data


def _edited(data: bytes, other: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    behind = at + random.randrange(9)
    match random.randrange(6):
        case 0:  # a bit
            flipped = bytes(each ^ 1 << random.randrange(8) for each in data[at : at + 1])
            return data[:at] + flipped + data[at + 1 :]
        case 1:  # an edge of a number, in its place
            edge = random.choice(EDGES)
            return data[:at] + edge + data[at + len(edge) :]
        case 2:
            return data[:at] + random.randbytes(behind - at) + data[at:]
        case 3:
            return data[:at] + data[behind:]
        case 4:  # the same again
            return data[:behind] + data[at:]
        case _:  # a part of another
            start = random.randrange(len(other) + 1)
            return data[:at] + other[start : start + random.randrange(40)] + data[behind:]
