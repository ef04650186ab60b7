"""What the benches in namespaces share: arguments, network, rounds, the lines of the verdict.

Always true: in every round each contestant is measured in turn, so that other load on the machine
affects all of them alike.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.e2e import netns
from tests.e2e.netns import Namespace
from tests.e2e.testbed import Testbed, opened_testbed

T = TypeVar("T")
ROUTER, LAN = "router", "lan"


def arguments(description: str, seconds: float | None, rounds: int = 3) -> argparse.Namespace:
    """`rounds`, and `seconds` of each load where there is one. Exits where root is missing."""
    parser = argparse.ArgumentParser(description=f"{description}, side by side, in namespaces.")
    parser.add_argument("--rounds", type=int, default=rounds)
    if seconds is not None:
        parser.add_argument(
            "--seconds", type=type(seconds), default=seconds, help="length of each load"
        )
    parser.add_argument(
        "--sender",
        choices=(ROUTER, LAN),
        default=ROUTER,
        help="what sends: programs on the router's machine (the direct path), or a LAN host",
    )
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the benches need root, for namespaces: run `make bench`")
    netns.sweep()
    return options


@contextmanager
def network() -> Iterator[tuple[Testbed, Path]]:
    """The network of the end-to-end tests, and a directory for configurations."""
    with opened_testbed() as bed, tempfile.TemporaryDirectory(prefix="tr-bench-") as directory:
        yield bed, Path(directory)


def sender(bed: Testbed, options: argparse.Namespace) -> Namespace:
    """Where the loads are started."""
    return bed.router if options.sender == ROUTER else bed.client


def in_turn(rounds: int, contestants: Mapping[str, T]) -> Iterator[tuple[str, T]]:
    """Each contestant in each round; progress is printed on standard error."""
    for number in range(1, rounds + 1):
        for name, contestant in contestants.items():
            print(f"round {number} of {rounds}: {name}", file=sys.stderr)
            yield name, contestant


def required(
    what: str, ratio: float, *, at_least: float = 0.0, at_most: float = float("inf")
) -> bool:
    """Prints whether a ratio is within its bound; whether it is."""
    bound = f"at least {at_least:g}x" if at_least else f"at most {at_most:g}x"
    passed = at_least <= ratio <= at_most
    print(f"{'pass' if passed else 'FAIL'}: {what}: {ratio:.2f}x, required {bound}")
    return passed
