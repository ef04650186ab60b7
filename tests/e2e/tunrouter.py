"""tunrouter itself, as a user starts and stops it, in the router's namespace.

Always true: whatever ends a run, its log never holds a traceback.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.netns import RUNTIME, Namespace, is_ending
from tests.e2e.processes import Process
from tests.e2e.testbed import V4, V6
from tests.e2e.wait import wait_until

WITHOUT_OFFLOADS = (sys.executable, "-m", "tests.e2e.without_offloads")
WITHOUT_TCX = (sys.executable, "-m", "tests.e2e.without_tcx")
WITH_UTUN = (sys.executable, "-m", "tests.e2e.utun_router")
PROGRAM = str(Path(sys.executable).with_name("tunrouter"))
TUN = "tun11"
SUMMARY = re.compile(r"stopped: (.*)$", re.MULTILINE)
RELOADED = re.compile(r"^tunrouter: (?:error: )?((?:not )?reloaded: .*)$", re.MULTILINE)
COUNTER = re.compile(r"([\w-]+)=(\d+)")

ROUTER, GUARD, UNDOER = "tunrouter", "router.platform.linux.guard", "router.platform.linux.undoer"
"""The processes of a run, by what they are for."""
KILLED = (ROUTER,), (GUARD,), (UNDOER,), (ROUTER, GUARD), (GUARD, ROUTER), (ROUTER, UNDOER)
"""Killed one after the other, each of these leaves a process that restores everything."""

HEAD = f"""\
version: 1
tun:
  name: {TUN}
  address: [{V4.tun}/30, "{V6.tun}/126"]
  mtu: 1500
policies:
  home: {{type: direct, interface: eth0}}
  office: {{type: vpn, interface: wg0}}
"""


def rules(*lines: str, head: str = HEAD, default: str = "bypass") -> str:
    """A rules file: the head, one rule a line (`cidr -> policy`), and the default."""
    written = [_rule(*line.split(" -> ")) for line in lines]
    return "\n".join([head + "rules:", *written, f"default: {default}", ""])


def rules_of_all(*texts: str) -> str:
    """One rules file with the rules of several that `rules` has made, in their order."""
    lines = dict.fromkeys(
        line for text in texts for line in text.splitlines() if line.startswith("  - {cidr: ")
    )
    return "\n".join([HEAD + "rules:", *lines, "default: bypass", ""])


def relayed(text: str) -> str:
    """The same rules by policies whose packets are always relayed."""
    return re.sub(r"(interface: \w+)}", r"\1, path: relay}", text)


def _rule(cidr: str, policy: str) -> str:
    return f'  - {{cidr: "{cidr}", policy: {policy}}}'


@dataclass(frozen=True)
class Stopped:
    """How a run ended. `counters` holds the numbers of the summary line."""

    exit_code: int
    log: str

    @property
    def counters(self) -> Mapping[str, int]:
        lines = SUMMARY.findall(self.log)
        assert lines, f"no summary line in the log:\n{self.log}"
        return {name: int(number) for name, number in COUNTER.findall(lines[-1])}


class Tunrouter:
    """One run of the program. `prefix` is put before its command line, `options` after it."""

    def __init__(
        self,
        namespace: Namespace,
        rules_file: Path,
        *,
        offloads: bool = True,
        prefix: tuple[str, ...] = (),
        program: tuple[str, ...] = (PROGRAM,),
        options: tuple[str, ...] = (),
    ) -> None:
        self.rules_file = rules_file
        self._others = set(namespace.pids())
        self._seen: set[int] = set()
        self._namespace = namespace
        program = program if offloads else WITHOUT_OFFLOADS
        self._process: Process = namespace.start(
            *prefix, *program, "run", "-c", str(rules_file), *options
        )

    @property
    def log(self) -> str:
        return self._process.stderr

    @property
    def output(self) -> str:
        """Of its standard output."""
        return self._process.stdout

    @property
    def pid(self) -> int:
        """The process that was started: the one that a user would kill."""
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.running

    def pids(self) -> list[int]:
        """All processes of this run that are left, with those that end and still have their
        descriptors: locks and interfaces."""
        inside = set(self._namespace.pids()) - self._others
        self._seen |= inside
        return sorted(pid for pid in self._seen if pid in inside or is_ending(pid))

    def processes(self) -> dict[str, int]:
        """The pids of ROUTER, GUARD and UNDOER."""
        found = {}
        for pid in self.pids():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            found[next((name for name in (GUARD, UNDOER) if name in command), ROUTER)] = pid
        return found

    def kill(self, names: Sequence[str]) -> None:
        """SIGKILL of the process groups of some of them, one after the other."""
        processes = self.processes()
        for name in names:
            with suppress(ProcessLookupError):  # it may have ended with the first
                os.killpg(os.getpgid(processes[name]), signal.SIGKILL)

    def descriptors(self) -> int:
        """How many descriptors the main process has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def reload(self, text: str | None = None) -> str:
        """Reloads by SIGHUP, with other rules if given; returns what the log has of it."""
        if text is not None:
            self.rules_file.write_text(text, encoding="utf-8")
        before = len(self.reloads())
        os.kill(self.pid, signal.SIGHUP)
        wait_until(lambda: len(self.reloads()) > before, "a reload", detail=lambda: self.log)
        return self.reloads()[-1]

    def reloads(self) -> list[str]:
        """The last line of each reload."""
        return RELOADED.findall(self.log)

    def wait_until_ready(self) -> None:
        self._process.wait_for_output("ready: ")
        self.pids()  # to know them when they end

    def wait_until_up(self, policy: str, *addresses: str) -> None:
        wait_until_up(lambda: self.log, policy, *addresses)

    def wait_until_down(self, policy: str) -> None:
        wait_until_down(lambda: self.log, policy)

    def stop(self, by: signal.Signals = signal.SIGTERM) -> Stopped:
        """Sends the signal, waits for the end and returns the exit code and the log."""
        stopped = Stopped(self._process.stop(by), self.log)
        assert "Traceback" not in stopped.log, stopped.log
        return stopped

    def close(self) -> None:
        self._process.close()


def last_line(log: str, policy: str) -> str:
    """The last line of the log about a policy, or nothing."""
    return next(
        (line for line in reversed(log.splitlines()) if f" policy {policy}: " in line),
        "",
    )


def wait_until_up(log: Callable[[], str], policy: str, *addresses: str) -> None:
    """Waits until a policy sends from just these addresses, IPv4 before IPv6.

    An interface gets its addresses one after the other, and the router may read them in between:
    that it is up is not enough.
    """
    sources = f" from {', '.join(addresses)}"

    def is_up() -> bool:
        line = last_line(log(), policy)
        return ": up by " in line and line.endswith(sources)

    wait_until(is_up, f"{policy} to be up{sources}", detail=log)


def wait_until_down(log: Callable[[], str], policy: str) -> None:
    wait_until(lambda: ": down, " in last_line(log(), policy), f"{policy} to be down", detail=log)


def files_of(namespace: Namespace) -> set[Path]:
    """What routers keep while they run in a namespace."""
    return set(RUNTIME.glob(f"{namespace.runtime.name}*/**/*"))


def write_rules(directory: Path, text: str) -> Path:
    path = directory / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@contextmanager
def running(
    namespace: Namespace,
    directory: Path,
    text: str,
    *,
    offloads: bool = True,
    prefix: tuple[str, ...] = (),
    program: tuple[str, ...] = (PROGRAM,),
    options: tuple[str, ...] = (),
) -> Iterator[Tunrouter]:
    """The router, ready, for the length of a with block.

    If the block has not stopped it itself, it is stopped by SIGTERM and must have ended well: exit
    code 0, and not one packet that came back in a loop.
    """
    rules_file = write_rules(directory, text)
    router = Tunrouter(
        namespace,
        rules_file,
        offloads=offloads,
        prefix=prefix,
        program=program,
        options=options,
    )
    try:
        router.wait_until_ready()
        yield router
        if router.running:
            stopped = router.stop()
            assert stopped.exit_code == 0, stopped.log
            assert stopped.counters["loop"] == 0, stopped.log
    finally:
        router.close()


def run_to_end(namespace: Namespace, *arguments: str, prefix: tuple[str, ...] = ()) -> Stopped:
    """Runs the program where it is expected to end by itself."""
    process = namespace.start(*prefix, PROGRAM, *arguments)
    try:
        code = process.wait()
        assert "Traceback" not in process.stderr, process.stderr
        return Stopped(code, process.stderr)
    finally:
        process.close()
