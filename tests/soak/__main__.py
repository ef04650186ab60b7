"""`make soak`: see tests.soak.soak. Needs root."""

from __future__ import annotations

import argparse
import sys

from tests.e2e import netns
from tests.soak.soak import soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    netns.sweep()
    soaked = soak(parser.parse_args().minutes * 60, lambda line: print(line, flush=True))
    for name, number in sorted(soaked.counts.items()):
        print(f"{number:15,} {name}")
    for name, after in soaked.after.items():
        before = soaked.before[name]
        print(
            f"{name}: {before.memory:.1f} MB after a third, {after.memory:.1f} MB at the end; "
            f"{before.descriptors} descriptors, {after.descriptors}"
        )
    problems = soaked.problems()
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
