"""`make faults`: a run for each fault at each step; those that end otherwise than they should are
shown. Needs root."""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.faults.scenario import opened
from tests.faults.steps import Case, cases


class Share(NamedTuple):
    """Of the cases: each `of`-th from `first` on, and which words a case has to contain."""

    first: int
    of: int
    words: str


class Totals(NamedTuple):
    cases: int
    happened: int
    went_on: int
    cleaned_up: int
    failures: list[str]


def run_share(share: Share) -> Totals:
    """In a namespace of its own, which is made anew after a failure."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    failures: list[str] = []
    happened = went_on = cleaned_up = done = 0
    chosen: list[Case] | None = None
    while chosen is None or done < len(chosen):
        with tempfile.TemporaryDirectory() as directory, opened(Path(directory)) as scenario:
            if chosen is None:
                found = [case for case in cases(scenario.steps()) if share.words in str(case)]
                chosen = found[share.first :: share.of]
            for case in chosen[done:]:
                done += 1
                try:
                    outcome = scenario.run(step=case.step, fault=case.fault)
                except AssertionError as error:
                    failures.append(f"{case}\n{error}")
                    print(f"FAILED: {failures[-1]}\n", flush=True)
                    break
                happened += outcome.fired
                went_on += outcome.code == 0
                cleaned_up += outcome.cleaned_up
    return Totals(len(chosen), happened, went_on, cleaned_up, failures)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--every", type=int, default=1, help="of the cases, each so many-th alone")
    parser.add_argument("--only", default="", help="cases that contain this, as `ENOSPC at undoer`")
    given = parser.parse_args()
    begin = time.monotonic()
    shares = [
        Share(job * given.every, given.jobs * given.every, given.only) for job in range(given.jobs)
    ]
    with multiprocessing.Pool(given.jobs) as pool:
        all_totals = pool.map(run_share, shares)
    failures = [failure for totals in all_totals for failure in totals.failures]
    counts = map(sum, zip(*(totals[:4] for totals in all_totals), strict=True))
    print(
        "{} faults, of which {} happened; {} runs went on to their end by SIGTERM, {} needed "
        "`tunrouter cleanup`, as they said".format(*counts),
        f"; {len(failures)} FAILED; {time.monotonic() - begin:.0f} s",
        sep="",
    )
    for failure in failures:
        print(f"FAILED: {failure.splitlines()[0]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
