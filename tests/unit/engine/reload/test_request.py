"""A reload from the request to its outcome: the real program reads a real file, and the system is
in memory and controlled by the test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from router.config.loader import load
from router.engine.direct.answers import Answers
from router.engine.reload.compiled import PATIENCE
from router.engine.reload.outcome import Outcome
from router.engine.reload.request import Reload
from router.engine.reload.reread import command
from router.engine.routes.installed import InstalledRoutes, RollbackFailedError
from router.platform.base.errors import PlatformError
from router.platform.base.routes import ReconcileResult
from router.platform.base.starts import OWN_BURST, START_BURST, STARTS_PER_SECOND
from router.policy.match.table import RuleSet
from router.policy.routes.route import Route
from tests.unit.control.rounds import Rounds
from tests.unit.engine.direct.memory import MemoryCounters
from tests.unit.engine.world import World
from tests.unit.wire.packets import ICMP, IP

HEAD = """
version: 1
policies:
  home: {type: direct, interface: eth0}
  office: {type: vpn, interface: wg0}
rules:
"""
BEFORE = HEAD + "  - {cidr: 198.51.100.0/24, policy: home}\n"
AFTER = HEAD + "  - {cidr: 198.51.100.0/25, policy: office}\n"


class Output:
    """See Pipe: the output of the program, in portions."""

    def __init__(self, data: bytes) -> None:
        self._out, into = os.pipe()
        os.write(into, b"x")
        os.close(into)
        self._data = data
        self.closed = False

    def fileno(self) -> int:
        return self._out

    def read(self) -> bytes:
        portion, self._data = self._data[:500], self._data[500:]
        return portion

    def close(self) -> None:
        assert not self.closed
        os.close(self._out)
        self.closed = True


class MemorySystem:
    """See System, as far as a reload goes. `refuses`: how many changes of routes it refuses.
    written: what the program writes; None: the real one is started."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.facts = self.routes = self
        self.present: list[Route] = []
        self.outputs: list[Output] = []
        self.refuses = 0
        self.cut_off: int | None = None
        self.written: bytes | None = None
        self.starts = True
        self.failed: list[str] = []
        self.hangs = False
        self.waiting: list[Callable[[PlatformError | None], None]] = []

    def endpoints(self) -> tuple[()]:
        return ()

    def begin_adding(self, routes: Sequence[Route]) -> Callable[[], None]:
        self.present = list(routes)
        return lambda: None

    def reconcile(self, routes: Sequence[Route]) -> ReconcileResult:
        if self.refuses:
            self.refuses -= 1
            raise PlatformError("no room for routes: have fewer")
        self.present = list(routes)
        return ReconcileResult([], self.failed, [])

    def guard(self) -> MemorySystem:
        return self

    def when_free(self, done: Callable[[PlatformError | None], None]) -> None:
        if self.hangs:
            self.waiting.append(done)
        else:
            done(None)

    def start_reread(self) -> Output:
        if not self.starts:
            raise PlatformError("no room for programs: end some")
        output = self.written
        if output is None:
            output = subprocess.run(command(self.file), stdout=subprocess.PIPE, check=True).stdout
        self.outputs.append(Output(output[: self.cut_off]))
        return self.outputs[-1]


class Bench:
    """A router with the rules BEFORE that has forwarded one ping."""

    def __init__(self, directory: Path) -> None:
        self.world = World(directory, BEFORE)
        self.file = directory / "rules.yaml"
        self.system = cast(Any, MemorySystem(self.file))
        self.loop = cast(Any, Rounds())
        forwarder, outbounds = self.world.forwarder, self.world.outbounds
        config = load(self.file).config
        assert config is not None
        tun: Any = self.world.tun
        self.installed = InstalledRoutes(
            config,
            RuleSet.build(config),
            self.system,
            tun,
            lambda _: None,
            list,
            self.loop,
        )
        self.installed.begin_installing()()
        self.decided: list[Outcome] = []
        self.reload = Reload(
            *(self.system, self.loop, forwarder, outbounds, self.installed),
            Answers(MemoryCounters, outbounds, dict),
            began=lambda: self.stages.append("began"),
            ended=lambda: self.stages.append("ended"),
            decided=self.decided.append,
        )
        self.stages: list[str] = []
        self.world.send(PING)
        self.outcomes: list[Outcome] = []

    def outcome(self, text: str | None = None) -> Outcome:
        """Request a reload; return its outcome, which must be reported within 1000 rounds."""
        if text is not None:
            self.file.write_text(text)
        before = len(self.outcomes)
        self.reload.request(self.outcomes.append)
        self.loop.run(1000)
        assert len(self.outcomes) == before + 1
        assert self.decided[-1] is self.outcomes[-1]
        assert all(output.closed for output in self.system.outputs)
        return self.outcomes[-1]

    @property
    def prefixes(self) -> list[tuple[int, int, int]]:
        return [route[:3] for route in self.system.present]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path)


PING = bytes(IP(src="10.1.0.2", dst="198.51.100.1") / ICMP(type=8, id=7))
NET = 198 << 24 | 51 << 16 | 100 << 8
OLD, NEW = [(4, NET, 24)], [(4, NET, 25)]


def test_a_good_file_is_applied(bench: Bench) -> None:
    outcome = bench.outcome(AFTER)
    assert outcome.as_json() == {
        "reloaded": True,
        "problems": outcome.problems.text,
        "summary": "reloaded: 1 rule; flows kept: 0; flows ended: 1 (1 icmp); "
        "routes added: 1; routes removed: 1",
        "rules": 1,
        "flows": {
            "kept": {"icmp": 0, "udp": 0, "tcp": 0},
            "ended": {"icmp": 1, "udp": 0, "tcp": 0},
        },
        "routes": {"added": 1, "removed": 1},
        "policies": {"added": [], "removed": [], "changed": []},
    }
    assert bench.prefixes == NEW
    assert bench.world.forwarder.config.rules[0].policy == "office"


def test_unchanged_flows_are_kept(bench: Bench) -> None:
    more = BEFORE + "  - {cidr: 192.0.2.0/30, policy: drop}\n"
    assert bench.outcome(more).flows["icmp"] == (1, 0)
    assert bench.outcome(BEFORE).flows["icmp"] == (1, 0)
    assert bench.prefixes == OLD


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + "  - {cidr: 1.2.3.4/33, policy: home}\n", "rules.yaml:7:12: error[bad-cidr]"),
        (
            AFTER.replace("rules:", "tun: {mtu: 1400}\nrules:"),
            "the mtu of the TUN is now 1400 and was 1500",
        ),
        (
            AFTER.replace("rules:", "tun: {name: tun7}\nrules:"),
            "is now tun7 and was left to the system",
        ),
        (AFTER + "user: root\n", "the user is now root and was nobody"),
        ("", "error[empty-file]"),
    ],
    ids=["bad", "MTU", "name", "user", "empty"],
)
def test_a_file_that_cannot_be_applied_changes_nothing(
    bench: Bench, text: str, expected: str
) -> None:
    outcome = bench.outcome(text)
    assert not outcome.done
    assert expected in outcome.problems.text
    assert "help: " in outcome.problems.text
    assert bench.prefixes == OLD
    assert bench.outcome(BEFORE).flows["icmp"] == (1, 0)


def test_failed_tun_settings_do_not_prevent_a_reload(bench: Bench) -> None:
    bench.system.failed = ["fd77::1/126 (Permission denied)"]
    assert bench.outcome(AFTER).done
    assert bench.prefixes == NEW


def test_refused_routes_are_rolled_back(bench: Bench) -> None:
    bench.system.refuses = 1
    outcome = bench.outcome(AFTER)
    assert (outcome.done, outcome.problems.text) == (False, "no room for routes: have fewer")
    assert bench.prefixes == OLD
    assert bench.outcome(BEFORE).flows["icmp"] == (1, 0)


def test_a_failed_rollback_ends_the_run(bench: Bench) -> None:
    bench.system.refuses = 2
    with pytest.raises(RollbackFailedError, match="stopping, and cleaning up"):
        bench.outcome(AFTER)


def _make_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


EIO = Path("/proc/self/mem")
"""A file of Linux whose first bytes cannot be read."""
LISTED = HEAD + "  - {file: list.txt, policy: office}\n"


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        (lambda file: file.unlink(), "error[missing-list]"),
        (_make_fifo, "not a regular file but a FIFO"),
        (lambda file: (file.unlink(), file.symlink_to("list.txt")), "error[list-loop]"),
        *(
            [(lambda file: (file.unlink(), file.symlink_to(EIO)), "error[unr")]
            if EIO.exists()
            else []
        ),
        (lambda file: file.write_bytes(b"\x1f\x8b\x08"), "the compressed data ends too soon"),
        (lambda file: os.truncate(file, 1 << 40), "line of more than"),
    ],
    ids=["gone", "a FIFO", "a loop", *(["EIO"] if EIO.exists() else []), "cut off", "sparse"],
)
def test_a_list_that_fails_changes_nothing(
    bench: Bench, replace: Callable[[Path], object], message: str
) -> None:
    file = bench.file.with_name("list.txt")
    file.write_text("198.51.100.0/24\n")
    assert bench.outcome(LISTED).done
    before = bench.prefixes
    replace(file)
    outcome = bench.outcome()
    assert not outcome.done
    assert message in outcome.problems.text
    assert bench.prefixes == before


def test_without_memory_nothing_changes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def reconcile(_: Sequence[Route]) -> ReconcileResult:
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr(bench.system, "reconcile", reconcile)
    outcome = bench.outcome(AFTER)
    assert (outcome.done, outcome.problems.text) == (False, "there is not enough memory")
    assert bench.prefixes == OLD
    assert bench.outcome(AFTER).done


def test_a_program_that_does_not_start_or_end(bench: Bench) -> None:
    bench.system.cut_off = 900
    assert "has ended before it was done" in bench.outcome(AFTER).problems.text
    bench.system.cut_off = None
    bench.system.starts = False
    assert bench.outcome(AFTER).problems.text == "no room for programs: end some"
    bench.system.starts = True
    assert bench.prefixes == OLD
    assert bench.outcome(AFTER).done


def test_a_program_without_output_times_out(bench: Bench) -> None:
    bench.file.write_text(AFTER)
    bench.reload.request(bench.outcomes.append)
    [output] = bench.system.outputs
    output.read = _nothing
    bench.loop.wait(int(PATIENCE) + 1)
    [outcome] = bench.outcomes
    assert (outcome.done, output.closed) == (False, True)
    assert "could not be read within" in outcome.problems.text
    assert bench.outcome().done


def _nothing() -> bytes:
    raise BlockingIOError


def test_a_request_during_a_reload_is_answered_by_the_next_reload(bench: Bench) -> None:
    bench.file.write_text(HEAD + "  - {cidr: 198.51.100.0/24, policy: nowhere}\n")
    first: list[Outcome] = []
    second: list[Outcome] = []
    bench.reload.request(first.append)
    bench.loop.run()
    bench.file.write_text(AFTER)
    bench.reload.request(second.append)
    bench.reload.request(second.append)
    bench.loop.run(1000)
    assert [outcome.done for outcome in first] == [False]
    assert [outcome.done for outcome in second] == [True, True]
    assert len(bench.system.outputs) == 2
    assert bench.stages == ["began", "began", "ended"]


def test_reloads_without_end_wait_for_what_the_guard_allows(bench: Bench) -> None:
    """As an impatient person's, or a script's: each is answered, none is refused."""
    bench.system.written = b""
    began = bench.loop.now
    asked = 3 * START_BURST
    for number in range(1, asked + 1):
        bench.reload.request(bench.outcomes.append)
        while len(bench.outcomes) < number:
            bench.loop.now += 0.01
            bench.loop.run(3)
    assert all("has ended before it was done" in each.problems.text for each in bench.outcomes)
    assert len(bench.system.outputs) == asked
    taken = bench.loop.now - began
    assert taken * STARTS_PER_SECOND + START_BURST >= asked


def test_requests_that_wait_are_answered_by_one_reading(bench: Bench) -> None:
    bench.system.written = b""
    while len(bench.system.outputs) < OWN_BURST:
        bench.outcome()
    before = len(bench.outcomes)
    for _ in range(5):
        bench.reload.request(bench.outcomes.append)
    bench.loop.run(100)
    assert len(bench.outcomes) == before
    bench.loop.wait(1)
    bench.loop.run(100)
    assert len(bench.outcomes) == before + 5
    assert len(bench.system.outputs) == OWN_BURST + 1


def test_closing_the_router_ends_the_reading(bench: Bench) -> None:
    bench.reload.request(bench.outcomes.append)
    bench.loop.run()
    bench.reload.close()
    assert [output.closed for output in bench.system.outputs] == [True]
    bench.reload.close()
