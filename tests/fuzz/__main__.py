"""`make fuzz`: inputs without end, for a time; what breaks a promise joins the corpus.

Each target has its share of the time. The input that fails is kept in the corpus, where `make
check` tries it until the fault is mended and ever after.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
import traceback
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from tests.fuzz.inputs import corpus, keep, mutated
from tests.fuzz.targets import TARGETS

PROCESSES: Final = 2


class Result(NamedTuple):
    target: str
    tried: int
    failure: str


def fuzz(work: tuple[str, float, int]) -> Result:
    """Inputs for one target, for so many seconds, from a seed on."""
    name, seconds, first = work
    end, seeds = time.monotonic() + seconds, corpus(name)
    with tempfile.TemporaryDirectory() as directory:
        for number in count(first):
            data = mutated(seeds, number)
            try:
                TARGETS[name](Path(directory), data)
            except Exception:
                failure = f"{keep(name, data)} (seed {number})\n{traceback.format_exc()}"
                return Result(name, number - first + 1, failure)
            if time.monotonic() > end:
                return Result(name, number - first + 1, "")
    raise AssertionError("numbers do not end")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all targets together")
    parser.add_argument("--seed", type=int, default=time.time_ns() % (1 << 32))
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this; repeatable")
    given = parser.parse_args()
    names = given.target or list(TARGETS)
    seconds = given.minutes * 60 * min(PROCESSES, len(names)) / len(names)
    print(f"seed {given.seed}, {seconds:.0f} s for each target", flush=True)
    failed = False
    with multiprocessing.Pool(PROCESSES) as pool:
        work = [(name, seconds, given.seed) for name in names]
        for result in pool.imap_unordered(fuzz, work):
            failed |= bool(result.failure)
            outcome = f"FAILED, see {result.failure}" if result.failure else "no failure"
            print(f"{result.target:10} {result.tried:9,} inputs: {outcome}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
