"""Answers are counted, once each, where other programs are at the ingress of the interface, which
stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e import ping
from tests.e2e.ingress import SENT_ON, programs_at, started
from tests.e2e.status import PING, Answers
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import rules, running

HOST, PINGS = 1, 7
RULES = rules(*(f"{family.far(HOST)} -> home" for family in FAMILIES))
CLASSIFIERS = {
    "a filter that ends the sequence": ("protocol", "all", "bpf", "da", "bytecode", "1,6 0 0 0"),
    "a redirection": (
        *("protocol", "all", "u32", "match", "u32", "0", "0"),
        *("action", "mirred", "egress", "redirect", "dev", "ifb0"),
    ),
    "a copy": (
        *("protocol", "all", "u32", "match", "u32", "0", "0"),
        *("action", "mirred", "egress", "mirror", "dev", "ifb0"),
    ),
}


def test_a_program_that_ends_the_sequence(bed: Testbed, tmp_path: Path) -> None:
    """It is there before, and comes after ours."""
    with closing(started(bed.router, "eth0", SENT_ON)) as other:
        before = programs_at(bed.router, "eth0")
        with running(bed.router, tmp_path, RULES):
            _, *others = programs_at(bed.router, "eth0")
            assert others == before
            check_pings(bed)
        assert programs_at(bed.router, "eth0") == before
        assert other.running


@pytest.mark.parametrize("classifier", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_classifiers(bed: Testbed, tmp_path: Path, classifier: tuple[str, ...]) -> None:
    with classified(bed, classifier):
        before = traffic_control(bed)
        with running(bed.router, tmp_path, RULES):
            assert traffic_control(bed) == before
            check_pings(bed)
        assert traffic_control(bed) == before


def check_pings(bed: Testbed) -> None:
    for family in FAMILIES:
        answers = Answers(bed.router, "home")
        ping_from_here(bed, family)
        assert answers.since() == (PINGS, PINGS * PING[family.version])


def ping_from_here(bed: Testbed, family: Family) -> None:
    options = ("-I", family.eth0, "-c", str(PINGS), "-l", str(PINGS), "-W", "20")
    with closing(ping.start(bed.router, family.far(HOST), *options)) as pings:
        assert ping.read(pings).received == PINGS


def traffic_control(bed: Testbed) -> str:
    """Its queues, and the filters at the ingress of eth0."""
    return "".join(
        bed.router.run("tc", *command).stdout
        for command in (
            ("qdisc", "show", "dev", "eth0"),
            ("filter", "show", "dev", "eth0", "ingress"),
        )
    )


@contextmanager
def classified(bed: Testbed, classifier: tuple[str, ...]) -> Iterator[None]:
    """What arrives at eth0; ifb0 gives redirected packets back to it."""
    bed.router.ip("link add ifb0 type ifb", "link set ifb0 up")
    try:
        bed.router.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
        bed.router.run("tc", "filter", "add", "dev", "eth0", "ingress", *classifier)
        yield
    finally:
        bed.router.run("tc", "qdisc", "del", "dev", "eth0", "clsact")
        bed.router.ip("link del ifb0")
