"""How long the router takes until it is ready: from its start to its READY message.

    make bench          or, as root:  python -m bench.start [--rounds 7]

Python's own start, with nothing to do, is the unit that the others are compared with: it says how
fast the machine is. Everything happens in a namespace; bytecode is kept, as by an installed
program. The first start of each is not counted.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.load_rules import networks
from bench.side_by_side import arguments, in_turn, network
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.tunrouter import HEAD, PROGRAM
from tests.e2e.wait import BOUND_S

FEW, MANY = 10, 10_000
MAX_FEW_S, MAX_MANY_S = 1.0, 3.0
PYTHON = "python, nothing to do"


@dataclass(frozen=True)
class Started:
    """One kind of start. `begin` starts it and returns its seconds. `limit`: in seconds."""

    begin: Callable[[], float]
    limit: float | None = None


def bare_python() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def router(namespace: Namespace, rules_file: Path, directory: Path) -> float:
    """Seconds until READY; the router is stopped again."""
    path = directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(path))
        path.chmod(0o777)
        notified.settimeout(BOUND_S)
        command = namespace.command(PROGRAM, "run", "-c", str(rules_file))
        began = time.perf_counter()
        process = Process(command, {"NOTIFY_SOCKET": str(path), "PYTHONDONTWRITEBYTECODE": ""})
        try:
            message = notified.recv(4096)
            seconds = time.perf_counter() - began
            assert message.startswith(b"READY=1"), message
            assert process.stop() == 0, process.report()
        finally:
            process.close()
            path.unlink()
    return seconds


def write_rules(path: Path, prefixes: Sequence[str]) -> Path:
    """A rule for each prefix where there are few, a list where there are many."""
    if len(prefixes) <= FEW:
        lines = [f"  - {{cidr: {prefix}, policy: home}}" for prefix in prefixes]
    else:
        path.with_suffix(".txt").write_text("\n".join(prefixes) + "\n")
        lines = [f"  - {{file: {path.stem}.txt, policy: home}}"]
    path.write_text("\n".join([HEAD + "rules:", *lines, "default: bypass", ""]))
    return path


def verdict(measured: dict[str, list[float]], kinds: dict[str, Started]) -> bool:
    """Prints the medians and whether they are within the limits."""
    unit = median(measured[PYTHON])
    passed = True
    for name, seconds in measured.items():
        found, limit = median(seconds), kinds[name].limit
        line = f"{name:<24}{found:>8.3f} s{found / unit:>8.1f}x"
        if limit is not None:
            passed &= found <= limit
            line += f"   {'pass' if found <= limit else 'FAIL'}: at most {limit:g} s"
        print(line)
    return passed


def main() -> int:
    options = arguments("Measure how long a start takes", None, rounds=7)
    with network() as (bed, directory):
        directory.chmod(0o755)  # the router notifies the bench as another user
        few = write_rules(directory / "few.yaml", networks(FEW))
        many = write_rules(directory / "many.yaml", networks(MANY))
        kinds = {
            PYTHON: Started(bare_python),
            f"{FEW} rules": Started(lambda: router(bed.router, few, directory), MAX_FEW_S),
            f"{MANY:,} prefixes": Started(lambda: router(bed.router, many, directory), MAX_MANY_S),
        }
        measured: dict[str, list[float]] = {name: [] for name in kinds}
        for name, kind in in_turn(options.rounds + 1, kinds):
            measured[name].append(kind.begin())
    return 0 if verdict({name: seconds[1:] for name, seconds in measured.items()}, kinds) else 1


if __name__ == "__main__":
    sys.exit(main())
