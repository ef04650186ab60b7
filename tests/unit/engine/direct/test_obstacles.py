"""By which interfaces packets may leave directly, and be forwarded, as rules are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_interface
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.engine.direct.obstacles import (
    CHANGED,
    LOOKING,
    NOT_READ,
    SETTLING,
    UNREPORTED,
    Obstacles,
)
from router.outbound.local_addresses import LocalAddresses
from router.platform.base.errors import PlatformError
from router.policy.host_rules.model import DirectOutput, HostRules
from router.policy.network import Interface

ETH0 = Interface("eth0", 2, True, 1500, (ip_interface("192.0.2.5/24"),))
WG0 = Interface("wg0", 3, True, 1420, (ip_interface("10.8.0.2/24"),))
LO = Interface("lo", 1, True, 65536, (ip_interface("127.0.0.1/8"),))
COUNTS = "nftables table inet t counts what leaves (chain out)"
REFUSES = "nftables table inet t refuses some of what leaves (chain out)"
ETH0_REFUSES = HostRules(refusals={"eth0": REFUSES})
FREE = HostRules()

Done = Callable[[HostRules | PlatformError], None]


class Filter:
    """Rules that a test sets; it answers requests when it likes."""

    def __init__(self, first: HostRules | PlatformError) -> None:
        self.asked: list[Done] = []
        self.asked_for_unreported: list[Callable[[bool | PlatformError], None]] = []
        self.guard_has_ended = False
        self.outputs: Sequence[DirectOutput] = ()
        self._first = first

    def host_rules(self, outputs: Sequence[DirectOutput]) -> HostRules:
        self.outputs = outputs
        if isinstance(self._first, PlatformError):
            raise self._first
        return self._first

    def request_host_rules(self, outputs: Sequence[DirectOutput], done: Done) -> None:
        self.outputs = outputs
        self.asked.append(done)

    def request_has_unreported(self, done: Callable[[bool | PlatformError], None]) -> None:
        if self.guard_has_ended:
            raise PlatformError("the guard has ended")
        self.asked_for_unreported.append(done)


class Loop:
    """Timers that a test lets pass."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append((delay, callback))

    def passes(self, delay: float) -> None:
        """Call what has waited for that long, in its order."""
        due = [each for each in self.timers if each[0] == delay]
        assert due, self.timers
        for each in due:
            self.timers.remove(each)
            each[1]()


class Changes:
    """Counts how often it is drained."""

    def __init__(self) -> None:
        self.drained = 0

    def drain(self) -> None:
        self.drained += 1


class Bench:
    """Obstacles of eth0 and wg0. called: what it has called, in order."""

    def __init__(self, first: HostRules | PlatformError = FREE) -> None:
        self.filter, self.loop, self.changes = Filter(first), Loop(), Changes()
        self.called: list[str] = []
        addresses = LocalAddresses("tun11")
        addresses.refresh({each.name: each for each in (ETH0, WG0, LO)})
        outbounds = SimpleNamespace(interface_names=lambda: {"eth0", "wg0"})
        given: list[Any] = [self.filter, outbounds, addresses, self.loop, self._changed]
        self.obstacles = Obstacles(*given)
        self.obstacles.revoked = lambda: self.called.append("revoked")

    def _changed(self) -> None:
        self.called.append("changed")

    def started(self) -> Bench:
        self.obstacles.start()
        return self

    def report(self) -> None:
        self.obstacles.rules_changed(cast(Any, self.changes))

    def answer(self, rules: HostRules | PlatformError) -> None:
        """The request that was made first."""
        self.filter.asked.pop(0)(rules)

    def answer_for_unreported(self, answer: bool | PlatformError) -> None:
        self.filter.asked_for_unreported.pop(0)(answer)

    @property
    def forwarded(self) -> set[str]:
        return {name for name in ("eth0", "wg0", "lo") if self.obstacles.may_forward(name)}


def test_nothing_may_be_before_rules_are_read() -> None:
    bench = Bench()
    assert bench.obstacles.why_not_forwarded("eth0") == bench.obstacles.of("eth0") == NOT_READ
    assert bench.forwarded == set()


def test_what_neither_an_obstacle_nor_a_refusal_stands_against_may_be_forwarded() -> None:
    bench = Bench().started()
    assert bench.forwarded == {"eth0", "wg0"}
    assert bench.obstacles.why_not_forwarded("eth0") is None
    assert [each.interface for each in bench.filter.outputs] == ["eth0", "wg0"]
    assert {each.tun for each in bench.filter.outputs} == {"tun11"}


def test_a_refusal_is_no_obstacle() -> None:
    bench = Bench(ETH0_REFUSES).started()
    assert bench.forwarded == {"wg0"}
    assert bench.obstacles.why_not_forwarded("eth0") == REFUSES
    assert bench.obstacles.of("eth0") is None


def test_an_obstacle_comes_before_a_refusal() -> None:
    bench = Bench(HostRules({"eth0": COUNTS}, refusals={"eth0": REFUSES})).started()
    assert bench.forwarded == {"wg0"}
    assert bench.obstacles.why_not_forwarded("eth0") == COUNTS


def test_rules_that_cannot_be_read() -> None:
    bench = Bench(PlatformError("no")).started()
    assert bench.forwarded == set()
    assert bench.obstacles.why_not_forwarded("wg0") == "no"


def test_changes_that_cannot_be_followed() -> None:
    bench = Bench()
    bench.obstacles.cannot_follow(PlatformError("not followed"))
    bench.started()
    assert bench.forwarded == set()
    assert bench.obstacles.why_not_forwarded("eth0") == "not followed"


def test_from_a_report_until_the_rules_are_judged_nothing_may_be_forwarded() -> None:
    bench = Bench().started()
    bench.report()
    assert bench.called == ["revoked"]
    assert bench.forwarded == set()
    assert bench.obstacles.why_not_forwarded("eth0") == CHANGED
    assert bench.obstacles.of("eth0") is None
    bench.loop.passes(SETTLING)
    assert bench.forwarded == set()
    bench.answer(FREE)
    assert bench.forwarded == {"eth0", "wg0"}
    assert bench.called == ["revoked"]


def test_reports_in_a_row_are_one_reading() -> None:
    bench = Bench().started()
    for _ in range(3):
        bench.report()
    assert bench.changes.drained == 3
    assert bench.called == ["revoked"]
    bench.loop.passes(SETTLING)
    assert len(bench.filter.asked) == 1
    bench.answer(FREE)
    assert bench.forwarded == {"eth0", "wg0"}


def test_a_report_while_rules_are_read_is_a_reading_of_its_own() -> None:
    """What is being read may have been read before the change."""
    bench = Bench().started()
    bench.report()
    bench.loop.passes(SETTLING)
    bench.report()
    bench.answer(FREE)
    assert bench.forwarded == set()
    bench.loop.passes(SETTLING)
    bench.answer(ETH0_REFUSES)
    assert bench.forwarded == {"wg0"}


def test_a_report_after_a_reading() -> None:
    bench = Bench().started()
    for _ in range(2):
        bench.report()
        bench.loop.passes(SETTLING)
        bench.answer(FREE)
        assert bench.forwarded == {"eth0", "wg0"}
    assert bench.called == ["revoked", "revoked"]


def test_rules_that_cannot_be_read_after_a_report() -> None:
    bench = Bench(ETH0_REFUSES).started()
    bench.report()
    bench.loop.passes(SETTLING)
    bench.answer(PlatformError("no"))
    assert bench.forwarded == set()
    assert bench.obstacles.why_not_forwarded("eth0") == "no"
    assert bench.called[-1] == "changed"


def test_a_request_is_a_change_of_what_is_judged() -> None:
    """As when an interface has got another address."""
    bench = Bench().started()
    bench.obstacles.request()
    assert bench.called == ["revoked"]
    assert bench.forwarded == set()
    bench.answer(FREE)
    assert bench.forwarded == {"eth0", "wg0"}


def test_rules_that_are_read_again_without_a_report_hold_meanwhile() -> None:
    bench = Bench().started()
    bench.loop.passes(UNREPORTED)
    assert bench.forwarded == {"eth0", "wg0"}
    bench.answer(FREE)
    assert bench.forwarded == {"eth0", "wg0"}
    assert bench.called == []


def test_a_refusal_that_was_not_reported() -> None:
    bench = Bench().started()
    bench.loop.passes(UNREPORTED)
    bench.answer(ETH0_REFUSES)
    assert bench.forwarded == {"wg0"}
    assert bench.called == ["revoked"]
    bench.loop.passes(UNREPORTED)
    bench.answer(ETH0_REFUSES)
    assert bench.called == ["revoked"]


def test_an_obstacle_that_was_not_reported() -> None:
    bench = Bench().started()
    bench.loop.passes(UNREPORTED)
    bench.answer(HostRules({"eth0": COUNTS}))
    assert bench.forwarded == {"wg0"}
    assert bench.called == ["revoked", "changed"]


# Rules whose changes are not reported


def test_they_are_asked_for_while_something_is_forwarded() -> None:
    bench = Bench().started()
    assert bench.filter.asked_for_unreported == []
    bench.obstacles.forwarding(True)
    for _ in range(3):
        assert len(bench.filter.asked_for_unreported) == 1
        bench.answer_for_unreported(False)
        bench.loop.passes(LOOKING)
    assert bench.forwarded == {"eth0", "wg0"}
    assert bench.called == []
    assert bench.filter.asked == []


def test_they_are_not_asked_for_while_nothing_is_forwarded() -> None:
    bench = Bench().started()
    bench.obstacles.forwarding(True)
    bench.answer_for_unreported(False)
    bench.obstacles.forwarding(False)
    bench.loop.passes(LOOKING)
    assert bench.filter.asked_for_unreported == []
    assert LOOKING not in [delay for delay, _ in bench.loop.timers]
    bench.obstacles.forwarding(True)
    assert len(bench.filter.asked_for_unreported) == 1


def test_they_are_asked_for_once_at_a_time() -> None:
    bench = Bench().started()
    for is_forwarding in (True, True, False, True):
        bench.obstacles.forwarding(is_forwarding)
    assert len(bench.filter.asked_for_unreported) == 1
    bench.answer_for_unreported(False)
    bench.obstacles.forwarding(True)
    assert bench.filter.asked_for_unreported == []
    bench.loop.passes(LOOKING)
    assert len(bench.filter.asked_for_unreported) == 1


@pytest.mark.parametrize("answer", [True, PlatformError("not known")])
def test_where_there_may_be_such_rules_all_are_read_again(answer: bool | PlatformError) -> None:
    bench = Bench().started()
    bench.obstacles.forwarding(True)
    bench.answer_for_unreported(answer)
    assert bench.called == ["revoked"]
    assert bench.forwarded == set()
    bench.answer(ETH0_REFUSES)
    assert bench.forwarded == {"wg0"}
    assert bench.obstacles.of("eth0") is None


def test_an_answer_after_forwarding_has_ended_changes_nothing() -> None:
    bench = Bench().started()
    bench.obstacles.forwarding(True)
    bench.obstacles.forwarding(False)
    bench.answer_for_unreported(True)
    assert bench.called == []
    assert bench.filter.asked == []


def test_a_system_that_cannot_be_asked() -> None:
    bench = Bench().started()
    bench.filter.guard_has_ended = True
    bench.obstacles.forwarding(True)
    assert bench.called == ["revoked"]
    assert bench.forwarded == set()
