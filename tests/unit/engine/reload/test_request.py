"""A reload from the question to the answer: the real program reads a real file, the system around
it is made of memory and does what a test tells it to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from router.config.loader import load
from router.engine.reload.outcome import Outcome
from router.engine.reload.request import PATIENCE, Reload
from router.engine.reload.reread import command
from router.engine.routes.installed import InstalledRoutes, RollbackFailedError
from router.platform.base.errors import PlatformError
from router.platform.base.routes import ReconcileResult
from router.policy.match.table import RuleSet
from router.policy.routes.capture import Route
from tests.unit.control.rounds import Rounds
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
    """See Pipe: what the program has said, in portions."""

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


class Computer:
    """See System, as far as a reload goes. `refuses`: how many changes of routes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.facts = self.routes = self
        self.present: list[Route] = []
        self.outputs: list[Output] = []
        self.refuses = 0
        self.cut_off: int | None = None
        self.starts = True
        self.failed: list[str] = []

    def endpoints(self) -> tuple[()]:
        return ()

    def add_routes(self, routes: Sequence[Route]) -> None:
        self.present = list(routes)

    def reconcile(self, routes: Sequence[Route]) -> ReconcileResult:
        if self.refuses:
            self.refuses -= 1
            raise PlatformError("no room for routes: have fewer")
        self.present = list(routes)
        return ReconcileResult([], self.failed)

    def start_reread(self) -> Output:
        if not self.starts:
            raise PlatformError("no room for programs: end some")
        said = subprocess.run(command(self.file), stdout=subprocess.PIPE, check=True).stdout
        self.outputs.append(Output(said[: self.cut_off]))
        return self.outputs[-1]


class Bench:
    """A router with the rules BEFORE and one ping by them."""

    def __init__(self, directory: Path) -> None:
        self.world = World(directory, BEFORE)
        self.file = directory / "rules.yaml"
        self.computer = cast(Any, Computer(self.file))
        self.loop = cast(Any, Rounds())
        forwarder, outbounds = self.world.forwarder, self.world.outbounds
        config = load(self.file).config
        assert config is not None
        tun: Any = self.world.tun
        self.installed = InstalledRoutes(
            config,
            RuleSet.build(config),
            self.computer,
            tun,
            outbounds.facts,
            self.loop,
        )
        self.installed.install()
        self.reload = Reload(
            *(self.computer, self.loop, forwarder, outbounds, self.installed),
            began=lambda: self.stages.append("began"),
            ended=lambda: self.stages.append("ended"),
        )
        self.stages: list[str] = []
        self.world.send(PING)
        self.told: list[Outcome] = []

    def ask(self, text: str | None = None) -> Outcome:
        """The outcome, which must be told within some rounds."""
        if text is not None:
            self.file.write_text(text)
        before = len(self.told)
        self.reload.request(self.told.append)
        self.loop.run(1000)
        assert len(self.told) == before + 1
        assert all(output.closed for output in self.computer.outputs)
        return self.told[-1]

    @property
    def prefixes(self) -> list[tuple[int, int, int]]:
        return [route[:3] for route in self.computer.present]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path)


PING = bytes(IP(src="10.1.0.2", dst="198.51.100.1") / ICMP(type=8, id=7))
NET = 198 << 24 | 51 << 16 | 100 << 8
OLD, NEW = [(4, NET, 24)], [(4, NET, 25)]


def test_a_good_file_is_applied(bench: Bench) -> None:
    outcome = bench.ask(AFTER)
    assert outcome.as_json() == {
        "reloaded": True,
        "problems": outcome.problems.text,
        "summary": "reloaded: 1 rules; flows kept: 0; flows ended: 1 (1 icmp); "
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


def test_what_stays_the_same_lives_on(bench: Bench) -> None:
    more = BEFORE + "  - {cidr: 192.0.2.0/30, policy: drop}\n"
    assert bench.ask(more).flows["icmp"] == (1, 0)
    assert bench.ask(BEFORE).flows["icmp"] == (1, 0)
    assert bench.prefixes == OLD


@pytest.mark.parametrize(
    ("text", "says"),
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
def test_a_file_that_can_not_be_applied_changes_nothing(bench: Bench, text: str, says: str) -> None:
    outcome = bench.ask(text)
    assert not outcome.done
    assert says in outcome.problems.text
    assert "help: " in outcome.problems.text
    assert bench.prefixes == OLD
    assert bench.ask(BEFORE).flows["icmp"] == (1, 0)


def test_what_the_tun_lacks_hinders_no_reload(bench: Bench) -> None:
    bench.computer.failed = ["fd77::1/126 (Permission denied)"]
    assert bench.ask(AFTER).done
    assert bench.prefixes == NEW


def test_what_the_system_refuses_is_put_back(bench: Bench) -> None:
    bench.computer.refuses = 1
    outcome = bench.ask(AFTER)
    assert (outcome.done, outcome.problems.text) == (False, "no room for routes: have fewer")
    assert bench.prefixes == OLD
    assert bench.ask(BEFORE).flows["icmp"] == (1, 0)


def test_what_can_not_be_put_back_ends_the_run(bench: Bench) -> None:
    bench.computer.refuses = 2
    with pytest.raises(RollbackFailedError, match="stopping, and cleaning up"):
        bench.ask(AFTER)


def test_a_program_that_does_not_start_or_end(bench: Bench) -> None:
    bench.computer.cut_off = 900
    assert "has ended before it was done" in bench.ask(AFTER).problems.text
    bench.computer.cut_off = None
    bench.computer.starts = False
    assert bench.ask(AFTER).problems.text == "no room for programs: end some"
    bench.computer.starts = True
    assert bench.prefixes == OLD
    assert bench.ask(AFTER).done


def test_a_program_that_says_nothing_for_too_long(bench: Bench) -> None:
    bench.file.write_text(AFTER)
    bench.reload.request(bench.told.append)
    [output] = bench.computer.outputs
    output.read = _nothing
    bench.loop.wait(int(PATIENCE) + 1)
    [outcome] = bench.told
    assert (outcome.done, output.closed) == (False, True)
    assert "could not be read within" in outcome.problems.text
    assert bench.ask().done


def _nothing() -> bytes:
    raise BlockingIOError


def test_who_asks_meanwhile_is_told_of_what_is_read_afterwards(bench: Bench) -> None:
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
    assert len(bench.computer.outputs) == 2
    assert bench.stages == ["began", "began", "ended"]


def test_the_end_of_the_router_is_the_end_of_a_reading(bench: Bench) -> None:
    bench.reload.request(bench.told.append)
    bench.loop.run()
    bench.reload.close()
    assert [output.closed for output in bench.computer.outputs] == [True]
    bench.reload.close()
