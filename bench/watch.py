"""What it costs to watch rules and lists, and how long a saved file waits.

    make bench          or:  python -m bench.watch [--seconds 5]

The program that `run --watch` starts is measured by itself: its share of one processor while
nothing changes, its resident memory, and the time from the rename of a list to the line upon which
the router reads it, of which QUIET seconds are the wait for quiet. No root is needed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from router.engine.reload.reread import command
from router.engine.reload.settling import QUIET
from router.engine.reload.watch import INTERVAL, SHARE

LISTS = (1, 10, 100, 1000)
MOST_SHARE = 1 / SHARE
MOST_SECONDS = QUIET + 2 * INTERVAL + 0.25
"""A look may just have been made at the rename, and the wait end just before another."""


def measured(directory: Path, lists: int, seconds: float) -> bool:
    """Print the line for so many lists; whether it is within the limits."""
    rules = directory / "rules.yaml"
    names = [f"list{number}.txt" for number in range(lists)]
    for name in names:
        (directory / name).write_text("192.0.2.0/24\n")
    rules.write_text(
        "rules:\n" + "".join(f"  - {{file: {name}, policy: drop}}\n" for name in names)
    )
    with subprocess.Popen(
        [*command(rules), "watch", repr(time.time())], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # what was saved just now: it has looked at everything
        before = _processor_seconds(process.pid)
        time.sleep(seconds)
        share = (_processor_seconds(process.pid) - before) / seconds
        memory = _resident(process.pid)
        other = directory / "other"
        other.write_text("198.51.100.0/24\n")
        began = time.monotonic()
        other.rename(directory / names[0])
        process.stdout.readline()
        took = time.monotonic() - began
        process.stdout.close()
    passed = share <= MOST_SHARE and took <= MOST_SECONDS
    print(
        f"{lists:5} lists   {share:7.3%} of a processor   {memory:5.1f} MB   "
        f"{took:.2f} s from a rename to the reading   {'pass' if passed else 'FAIL'}"
    )
    return passed


def _processor_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _resident(pid: int) -> float:
    """Megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(each for each in status.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0)
    seconds = parser.parse_args().seconds
    print(f"at most {MOST_SHARE:.0%} of a processor, and {MOST_SECONDS:g} s")
    passed = []
    for lists in LISTS:
        with tempfile.TemporaryDirectory() as directory:
            passed.append(measured(Path(directory), lists, seconds))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
