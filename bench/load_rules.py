"""How long rules take to load, and the memory that takes: seconds and peak RSS.

    python bench/load_rules.py              all cases, each in a process of its own
    python bench/load_rules.py list-1m      one of them

The files are made anew in a temporary directory; the same seed makes the same files.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from router.config.loader import load

SEED = 20240501
HEAD = "version: 1\npolicies:\n  office: {type: vpn, interface: wg0}\nrules:\n"


def networks(count: int) -> list[str]:
    """Different IPv4 networks of 24 bits and, where those run out, of 28."""
    length, shift = (24, 8) if count <= 1 << 20 else (28, 4)
    numbers = random.Random(SEED).sample(range(1 << 32 - shift), count)
    return [
        f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}/{length}"
        for n in (number << shift for number in numbers)
    ]


def write_list(directory: Path, count: int) -> None:
    (directory / "list.txt").write_text("\n".join(networks(count)) + "\n")
    (directory / "rules.yaml").write_text(HEAD + "  - {file: list.txt, policy: office}\n")


def write_rules(directory: Path, count: int) -> None:
    lines = [f"  - {{cidr: {network}, policy: office}}\n" for network in networks(count)]
    (directory / "rules.yaml").write_text(HEAD + "".join(lines))


CASES: dict[str, Callable[[Path], None]] = {
    "list-100k": lambda directory: write_list(directory, 100_000),
    "rules-100k": lambda directory: write_rules(directory, 100_000),
    "list-1m": lambda directory: write_list(directory, 1_000_000),
}


def peak_rss_mb() -> float:
    """What this process took at most, in MB (ru_maxrss is in KiB on Linux, bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def measure(path: Path) -> None:
    before = peak_rss_mb()
    began = time.perf_counter()
    loaded = load(path)
    seconds = time.perf_counter() - began
    assert loaded.config is not None, loaded.problems[:3]
    print(f"{seconds:6.2f} s   peak {peak_rss_mb():5.0f} MB   (before: {before:.0f} MB)")


def main(arguments: list[str]) -> None:
    match arguments:
        case ["--make", name, directory]:
            CASES[name](Path(directory))
        case ["--measure", rules]:
            measure(Path(rules))
        case _:
            for name in arguments or CASES:
                run(name)


def run(name: str) -> None:
    """Make the files and load them, each in a process of its own: a child begins with the peak
    memory of its parent."""
    with tempfile.TemporaryDirectory() as directory:
        this = [sys.executable, __file__]
        subprocess.run([*this, "--make", name, directory], check=True)
        print(f"{name:10}", end=" ", flush=True)
        subprocess.run([*this, "--measure", f"{directory}/rules.yaml"], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
