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
    for name, most in soaked.most_mb().items():
        print(f"{name}: at most {most:.1f} MB")
    for name, (before, after) in soaked.growth().items():
        print(
            f"{name}: between floods {before.memory:.1f} MB and {before.descriptors} descriptors, "
            f"and then {after.memory:.1f} MB and {after.descriptors}"
        )
    problems = soaked.problems()
    for problem in problems:
        print(f"FAILED: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
