"""`make faults`: a run for each fault at each step; those that end otherwise than they should are
shown. Needs root.

With --results it can be done in parts: what is in the file without a failure is not run again. The
order is a random one, so that a part is a sample of all.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from random import Random
from threading import Thread
from typing import NamedTuple

from tests.faults.scenario import Scenario, opened
from tests.faults.steps import Case, cases

SHOWN = 5
"""Of the longest runs."""


class Result(NamedTuple):
    """Of a run. failure: why it is not as it should be, or nothing."""

    case: str
    happened: bool
    went_on: bool
    cleaned_up: bool
    failure: str
    seconds: float


class Worker(Thread):
    """Runs one case after the other in a namespace of its own, which is made anew after a
    failure."""

    def __init__(
        self, waiting: SimpleQueue[Case], results: SimpleQueue[Result | None], deadline: float
    ) -> None:
        super().__init__(daemon=True)
        self._waiting = waiting
        self._results = results
        self._deadline = deadline

    def run(self) -> None:
        try:
            with suppress(Empty):
                while time.monotonic() < self._deadline:
                    self._run_in_one_namespace()
        finally:
            self._results.put(None)

    def _run_in_one_namespace(self) -> None:
        """Until a failure. Raises Empty when there are no more cases."""
        with tempfile.TemporaryDirectory() as directory, opened(Path(directory)) as scenario:
            while time.monotonic() < self._deadline:
                result = _run(scenario, self._waiting.get_nowait())
                self._results.put(result)
                if result.failure:
                    return


def _run(scenario: Scenario, case: Case) -> Result:
    begin = time.monotonic()
    try:
        outcome = scenario.run(step=case.step, fault=case.fault)
    except AssertionError as error:
        took = time.monotonic() - begin
        return Result(str(case), True, False, False, str(error) or repr(error), took)
    took = time.monotonic() - begin
    return Result(str(case), outcome.fired, outcome.code == 0, outcome.cleaned_up, "", took)


def all_results(chosen: Iterable[Case], jobs: int, deadline: float) -> Iterator[Result]:
    """Of as many as can be begun before the deadline, in the order in which they end."""
    waiting: SimpleQueue[Case] = SimpleQueue()
    results: SimpleQueue[Result | None] = SimpleQueue()
    for case in chosen:
        waiting.put(case)
    workers = [Worker(waiting, results, deadline) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    working = len(workers)
    while working:
        result = results.get()
        if result is None:
            working -= 1
        else:
            yield result
    for worker in workers:
        worker.join()


def recorded() -> list[Case]:
    with tempfile.TemporaryDirectory() as directory, opened(Path(directory)) as scenario:
        return list(cases(scenario.steps()))


def read_results(file: Path) -> dict[str, Result]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = (Result(*json.loads(line)) for line in lines)
    return {result.case: result for result in found if not result.failure}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--jobs", type=int, default=4, help="runs side by side")
    parser.add_argument("--every", type=int, default=1, help="of the cases, each so many-th alone")
    parser.add_argument("--seed", type=int, default=0, help="of their order")
    parser.add_argument(
        "--only", default="", help="cases that match this expression, as `ENOSPC at undoer`"
    )
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no run after these")
    parser.add_argument("--results", type=Path, default=Path("/dev/null"), help="see above")
    given = parser.parse_args()
    begin = time.monotonic()
    found = [case for case in recorded() if re.search(given.only, str(case))]
    Random(given.seed).shuffle(found)
    found = found[:: given.every]
    names = {str(case) for case in found}
    known = {name: each for name, each in read_results(given.results).items() if name in names}
    chosen = [case for case in found if str(case) not in known]
    with given.results.open("a", encoding="utf-8") as file:
        for result in all_results(chosen, given.jobs, begin + given.minutes * 60):
            known[result.case] = result
            file.write(f"{json.dumps(result)}\n")
            file.flush()
            if result.failure:
                print(f"FAILED: {result.case}\n{result.failure}\n", flush=True)
    return report(list(known.values()), len(found), time.monotonic() - begin)


def report(results: list[Result], number: int, seconds: float) -> int:
    """Prints the totals; the exit code."""
    failed = [result.case for result in results if result.failure]
    print(
        f"{len(results)} of {number} faults, of which {sum(each.happened for each in results)} "
        f"happened; {sum(each.went_on for each in results)} runs went on to their end by SIGTERM, "
        f"{sum(each.cleaned_up for each in results)} needed `tunrouter cleanup`, as they said; "
        f"{len(failed)} FAILED; {seconds:.0f} s"
    )
    for result in sorted(results, key=lambda each: -each.seconds)[:SHOWN]:
        print(f"{result.seconds:6.1f} s  {result.case}")
    for case in failed:
        print(f"FAILED: {case}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
