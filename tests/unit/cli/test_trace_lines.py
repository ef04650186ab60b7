"""A packet of a trace as text."""

from __future__ import annotations

from router.cli.trace_lines import as_text
from router.flows.trace.decision import FORWARD, OUT, Decision, Record

DECISION = Decision(FORWARD, None, "home", 2, "eth0", "direct")
RECORD = Record(0.25, OUT, 84, b"", DECISION)
PACKET = "out IP / ICMP 192.0.2.2 > 198.51.100.1 echo-request 0 / Raw"
WORDS = "forward, rule 2: home, by eth0, direct, unchanged"


def shown(columns: int | None) -> str:
    return as_text(RECORD, lambda _: PACKET.removeprefix("out "), columns).partition(" ")[2]


def test_one_line_where_there_is_room() -> None:
    assert shown(None) == shown(200) == f"{PACKET} | {WORDS}"


def test_the_decision_has_a_line_of_its_own_at_a_narrow_terminal() -> None:
    assert shown(80) == f"{PACKET}\n    {WORDS}"
