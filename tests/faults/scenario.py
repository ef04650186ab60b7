"""One run of the router in a namespace of its own, with a fault at one step, or with none.

The namespace has a home network and a VPN, whose far ends are silent: what leaves is not answered.
The VPN's interface has a fixed index and address, so that another is equal to it as text.

Always true, and checked after each run: it has ended; no log line is a traceback; what ends with an
error has a message that says what to do; the network is as before, as text, at once or after
`tunrouter cleanup` where the log says that this is needed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Final

from tests.e2e.netns import Namespace, unique_prefix
from tests.e2e.processes import Process
from tests.e2e.snapshot import state
from tests.e2e.tunrouter import PROGRAM, RELOADED, files_of, last_line
from tests.e2e.wait import POLL_S, StillWaitingError, wait_until
from tests.faults.steps import KILL as KILLED
from tests.faults.steps import VANISH

INJECTION: Final = Path(__file__).parent / "injection"
SOURCE: Final = Path(__file__).parents[2]
LONGEST_PHASE: Final = 15
"""Bytes of the file that processes map; in one more is VANISHED, when the VPN's interface is gone
as a step wants it."""
VANISHED: Final = b"!"
RULES: Final = """\
version: 1
tun: {name: tun11, address: [192.168.7.1/30, "fd77::1/126"]}
policies:
  home: {type: direct, interface: eth0, path: relay}
  office: {type: vpn, interface: vpn7}
rules:
  - {cidr: [198.51.100.1, "2001:db8:100::1"], policy: home}
  - {cidr: [198.51.100.2, "2001:db8:100::2"], policy: office}
"""
MORE: Final = "  - {cidr: 198.51.100.3, policy: home}\n"
LINKS: Final = (
    "link add eth0 type veth peer name far0",
    "link set far0 addrgenmode none",
    "link set eth0 addrgenmode none",
    "link set far0 up",
    "addr add 192.0.2.2/24 dev eth0",
    "addr add 2001:db8:2::2/64 dev eth0 nodad",
    "link set eth0 up",
    "route add default via 192.0.2.1 dev eth0",
    "route add default via 2001:db8:2::1 dev eth0",
)
VPN: Final = (
    "link add vpn7 address 02:00:00:00:00:77 index 77 type veth "
    "peer name far7 address 02:00:00:00:00:78 index 78",
    "link set far7 addrgenmode none",
    "link set vpn7 addrgenmode none",
    "link set far7 up",
    "link set vpn7 up",
    "addr add 10.8.0.2/24 dev vpn7",
    "addr add fd08::2/64 dev vpn7 nodad",
)
TRAFFIC: Final = """
import contextlib, socket
for family, net in ((socket.AF_INET, "198.51.100."), (socket.AF_INET6, "2001:db8:100::")):
    for host in "12":
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_RAW):
            is_raw = kind == socket.SOCK_RAW
            four = family == socket.AF_INET
            protocol = (socket.IPPROTO_ICMP if four else socket.IPPROTO_ICMPV6) if is_raw else 0
            with socket.socket(family, kind, protocol) as sock, contextlib.suppress(OSError):
                sock.setblocking(False)
                sock.connect((net + host, 0 if is_raw else 7))
                echo = bytes((8, 0, 0xF7, 0xFD) if four else (128, 0, 0, 0)) + b"\\0\\1\\0\\1"
                sock.send(echo if is_raw else b"x")
"""
VPN_UP: Final = re.compile(r"up by vpn7 from 10\.8\.0\.2, fd08::2$")
CLEANUP: Final = re.compile(r"tunrouter cleanup")
REMEDY: Final = re.compile(
    r"`|again|choose another|raise |remove|end it|stop it|free |use Linux|pass |write '|run as"
)
KILL: Final = re.compile(r"sudo kill -KILL (\d+)")
PATIENCE: Final = 200.0
"""Seconds: several bounds of the router one after the other; of them, a reload has 120 s, and the
guard 60 s for what concerns routes."""


@dataclass(frozen=True)
class Outcome:
    """Of a run: what it wrote, how it ended (None: by a signal of the test), whether the fault
    happened."""

    log: str
    code: int
    fired: bool
    cleaned_up: bool


class Scenario:
    """A namespace for runs one after the other."""

    def __init__(self, namespace: Namespace, directory: Path) -> None:
        self._namespace = namespace
        self._directory = directory
        self._files = files_of(namespace)
        self._vpn = Lock()
        self._before = self._state()

    def steps(self) -> list[str]:
        """Those of a run without a fault."""
        record = self._directory / "steps"
        record.touch()
        record.chmod(0o666)
        outcome = self.run(record=str(record))
        assert outcome.code == 0, outcome.log
        return list(dict.fromkeys(record.read_text().splitlines()))

    def run(self, **plan: Any) -> Outcome:
        """A whole run with the fault of a plan, see injection; checks what always holds."""
        phase, fired = self._directory / "phase", self._directory / "fired"
        phase.write_bytes(b" " * (LONGEST_PHASE + 1))
        _enter(phase, "start")
        fired.write_text("")
        fired.chmod(0o666)
        file = self._directory / "plan"
        file.write_text(json.dumps({"phase": str(phase), "fired": str(fired), **plan}))
        rules = self._directory / "rules.yaml"
        rules.write_text(RULES)
        self._others = set(self._namespace.pids())
        self._has_vanished = False
        process = self._namespace.start(
            *(PROGRAM, "run", "-c", str(rules)),
            env={"TUNROUTER_FAULT": str(file), "PYTHONPATH": f"{INJECTION}:{SOURCE}"},
        )
        try:
            with self._vanishing(phase, fired) if plan.get("fault") == VANISH else nullcontext():
                self._pass_through(process, phase, rules)
                code, log = self._end(process, phase)
        finally:
            process.close()
        cleaned_up = self._check(code, log, is_killed=plan.get("fault") == KILLED)
        return Outcome(log, code, bool(fired.read_text()), cleaned_up)

    @contextmanager
    def _vanishing(self, phase: Path, fired: Path) -> Iterator[None]:
        """Meanwhile the VPN's interface is deleted when a step wants it."""
        ended = Event()

        def delete() -> None:
            while not ended.wait(POLL_S):
                if fired.stat().st_size:
                    with self._vpn:
                        self._namespace.run("ip", "link", "delete", "vpn7", check=False)
                    self._has_vanished = True
                    with phase.open("r+b") as file:
                        file.seek(LONGEST_PHASE)
                        file.write(VANISHED)
                    return

        thread = Thread(target=delete)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _pass_through(self, process: Process, phase: Path, rules: Path) -> None:
        """The phases between start and stop, as far as the router runs."""

        def lines() -> int:
            return process.stderr.count("policy office: ")

        def is_up() -> bool:
            return VPN_UP.search(last_line(process.stderr, "office")) is not None

        if not self._reaches(process, "ready", lambda: "ready" in process.stderr):
            return
        if self._has_vanished and not self._reaches(process, "the VPN to be up", is_up):
            return
        _enter(phase, "traffic")
        self._namespace.run(sys.executable, "-c", TRAFFIC)
        _enter(phase, "change")
        seen = lines()
        down = self._namespace.run("ip", "link", "set", "vpn7", "down", check=False)
        if down.returncode == 0 and not self._reaches(
            process, "the VPN to be down", lambda: self._has_vanished or lines() > seen
        ):
            return
        seen = lines()
        self._restore_vpn()
        if not self._reaches(process, "the VPN to be up", lambda: is_up() or lines() > seen):
            return
        _enter(phase, "reload")
        rules.write_text(RULES + MORE)
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGHUP)
        wait_until(
            lambda: RELOADED.search(process.stderr) or self._is_over(process),
            *("a reload",),
            timeout=PATIENCE,
            detail=process.report,
        )

    def _reaches(self, process: Process, what: str, condition: Callable[[], bool]) -> bool:
        """Waits until a condition holds or the run is over; whether it goes on. Meanwhile an
        interface that has vanished comes back."""

        def is_reached() -> bool:
            if self._has_vanished:
                self._restore_vpn()
            return condition() or self._is_over(process)

        wait_until(is_reached, what, timeout=PATIENCE, detail=process.report)
        return not self._is_over(process)

    def _is_over(self, process: Process) -> bool:
        """It has ended, or says which process is to be killed, which is done then; or it is stopped
        itself, and killed."""
        if not process.running:
            return True
        found = KILL.search(process.stderr)
        stopped = int(found[1]) if found else process.pid if _is_stopped(process.pid) else None
        if stopped is not None:
            with suppress(ProcessLookupError):
                os.kill(stopped, signal.SIGKILL)
        return stopped is not None

    def _end(self, process: Process, phase: Path) -> tuple[int, str]:
        """By SIGTERM, if it still runs; its exit code and its log, when all of it has ended."""
        _enter(phase, "stop")
        with suppress(ProcessLookupError):
            if process.running:
                os.kill(process.pid, signal.SIGTERM)
        wait_until(
            lambda: not process.running or (self._is_over(process) and not process.running),
            "the router to stop",
            timeout=PATIENCE,
            detail=process.report,
        )
        code = process.wait()
        try:
            wait_until(lambda: not self._left(), "the rest of the run to end")
        except StillWaitingError:
            stopped = [pid for pid in self._left() if _is_stopped(pid)]
            for pid in stopped:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not self._left(), "the rest of the run", detail=process.report)
        return code, process.stderr

    def _left(self) -> set[int]:
        return set(self._namespace.pids()) - self._others

    def _restore_vpn(self) -> None:
        with self._vpn:
            if not self._namespace.has_interface("vpn7"):
                self._namespace.ip(*VPN)
            else:
                self._namespace.ip("link set vpn7 up", "addr replace fd08::2/64 dev vpn7 nodad")

    def _check(self, code: int, log: str, *, is_killed: bool) -> bool:
        """What holds after each run; whether `cleanup` was needed."""
        assert "Traceback" not in log, log
        assert code in (0, 1, -signal.SIGKILL) or (code == 2 and "help: " in log), log
        errors = [line for line in log.splitlines() if ": error: " in line]
        assert code != 1 or errors, log
        assert code != 1 or any(map(REMEDY.search, errors)), f"no remedy:\n{log}"
        self._restore_vpn()
        cleans_up = bool(CLEANUP.search(log))
        empty = is_killed and not cleans_up and all(map(_is_empty, self._files_left()))
        if cleans_up or empty:
            self._namespace.run(PROGRAM, "cleanup", check=False)
        wait_until(
            lambda: self._state() == self._before,
            "the network to be as before",
            detail=lambda: "\n".join([*unified_diff(self._before, self._state()), log]),
        )
        assert not self._files_left(), log
        return cleans_up

    def _state(self) -> list[str]:
        """Sorted: routes of an interface that was down come behind others."""
        return sorted(state(self._namespace).splitlines())

    def _files_left(self) -> set[Path]:
        return files_of(self._namespace) - self._files


def _enter(file: Path, phase: str) -> None:
    """In place: it is mapped by processes."""
    with file.open("r+b") as opened_file:
        opened_file.write(phase.ljust(LONGEST_PHASE).encode())


def _is_empty(journal: Path) -> bool:
    """Whether it has nothing to undo: no more than the line that names the network. A guard that is
    killed before there is an undoer leaves it, and the next start removes it."""
    return len(journal.read_text(encoding="ascii").splitlines()) <= 1


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def opened(directory: Path) -> Iterator[Scenario]:
    """The scenario, in a namespace that is gone afterwards."""
    namespace = Namespace(f"{unique_prefix()}-faults")
    namespace.create()
    try:
        namespace.ip(*LINKS, *VPN)
        namespace.sysctl(ipv4__conf__all__rp_filter=1, ipv4__conf__eth0__rp_filter=1)
        yield Scenario(namespace, directory)
    finally:
        namespace.delete()
