"""Rules of the host that look at the owner of a packet, as on the bare path: by the TUN the owner
is the program, by the outbound's interface it is the router.

So a rule about the outbound's interface alone does not see the program: that is reported, with the
remedy. Where it lets only some owners through, nobody gets through that the bare path refuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import probes, sockets
from tests.e2e.direct.ends import is_direct
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import PROGRAM, TUN, Tunrouter, relayed, running
from tests.e2e.udp import BARE, ECHO, HOME, RULES
from tests.e2e.wait import wait_until

REFUSED, OTHER = "7777", "8888"
"""Users and groups."""
PATIENCE_S = "0.5"
PROHIBITED = {"EHOSTUNREACH", "EACCES", "EPERM", "silence"}


@pytest.fixture(scope="module")
def router(
    bed: Testbed, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tunrouter]:
    with running(bed.router, tmp_path_factory.mktemp("rules"), request.param) as started:
        if request.param == RULES:
            for family in FAMILIES:
                reached = partial(is_direct, bed, family, family.far(HOME))
                wait_until(reached, "the direct path")
        yield started


BOTH_PATHS = pytest.mark.parametrize(
    "router", [RULES, relayed(RULES)], ids=["direct", "relayed"], indirect=True
)
DIRECT = pytest.mark.parametrize("router", [RULES], ids=["direct"], indirect=True)


@pytest.fixture(scope="module")
def port(bed: Testbed, udp_servers: None) -> Iterator[int]:
    with sockets.listener(bed.far) as listener:
        yield sockets.port_of(listener)


@contextmanager
def laid(bed: Testbed, *rules: str, hook: str = "output") -> Iterator[None]:
    lines = "\n".join(rules)
    chain = f"chain own {{ type filter hook {hook} priority 0; policy accept;\n{lines}\n }}\n"
    bed.router.run("nft", "-f", "-", stdin=f"table inet owners {{ {chain} }}")
    try:
        yield
    finally:
        bed.router.run("nft", "delete", "table", "inet", "owners")


def outcomes(bed: Testbed, address: str, port: int, user: str) -> list[str]:
    """Of a connection and of a datagram of a user's program."""
    as_user = (
        "setpriv",
        f"--reuid={user}",
        f"--regid={user}",
        "--clear-groups",
        "/usr/bin/python3",
    )
    return [
        bed.router.run(
            *as_user, "-c", probes.CLIENT, kind, address, str(number), PATIENCE_S
        ).stdout.strip()
        for kind, number in (("tcp", port), ("udp", ECHO))
    ]


@pytest.mark.parametrize(
    ("hook", "rule"),
    [
        ("output", f"meta skuid {REFUSED} drop"),
        ("output", f"meta skgid {REFUSED} reject"),
        ("postrouting", f"meta skuid {REFUSED} drop"),
        ("output", f'oifname {{ "{TUN}", "eth0" }} meta skuid {REFUSED} drop'),
    ],
)
@BOTH_PATHS
def test_a_rule_for_all_interfaces_holds(
    bed: Testbed, router: Tunrouter, port: int, family: Family, hook: str, rule: str
) -> None:
    with laid(bed, rule, hook=hook):
        for user in (REFUSED, OTHER):
            ours, kernels = (outcomes(bed, family.far(host), port, user) for host in (HOME, BARE))
            assert ours == kernels
            assert (ours == ["connected", "answered"]) == (user == OTHER)


@BOTH_PATHS
def test_the_owner_match_of_iptables_holds(
    bed: Testbed, router: Tunrouter, port: int, family: Family
) -> None:
    """By nf_tables; its rules count, so that packets are relayed."""
    program = "iptables-nft" if family.version == 4 else "ip6tables-nft"
    rule = ("OUTPUT", "-m", "owner", "--uid-owner", REFUSED, "-j", "DROP")
    bed.router.run(program, "-A", *rule)
    try:
        for user in (REFUSED, OTHER):
            ours, kernels = (outcomes(bed, family.far(host), port, user) for host in (HOME, BARE))
            assert ours == kernels
            assert (ours == ["connected", "answered"]) == (user == OTHER)
    finally:
        bed.router.run("nft", "delete", "table", "ip" if family.version == 4 else "ip6", "filter")


@DIRECT
def test_a_rule_for_the_outbound_alone_is_reported(
    bed: Testbed, router: Tunrouter, port: int, tmp_path: Path
) -> None:
    """By check and by a run; with the remedy it is not, and the rule holds."""
    command = (PROGRAM, "check", "-c", str(router.rules_file), "--format", "json")
    with laid(bed, f'oifname "eth0" meta skuid {REFUSED} drop'):
        wait_until(lambda: "looks at the owner" in router.log, "a warning")
        (problem,) = json.loads(bed.router.run(*command).stdout)["problems"]
        assert (problem["code"], problem["severity"]) == ("owner-check", "warning")
        assert "by eth0 that is the router" in problem["message"]
        assert problem["help"] in router.log
    with laid(bed, f'oifname {{ "eth0", "{TUN}" }} meta skuid {REFUSED} drop'):
        assert json.loads(bed.router.run(*command).stdout)["problems"] == []
        for family in FAMILIES:
            assert PROHIBITED.issuperset(outcomes(bed, family.far(HOME), port, REFUSED))


@DIRECT
def test_where_one_owner_alone_is_let_through(
    bed: Testbed, router: Tunrouter, port: int, family: Family
) -> None:
    """The router is not: all is refused, until the rule leaves the outbound's interface to it."""
    address = family.far(HOME)
    only = f"meta skuid != {OTHER} drop"
    with laid(bed, f"oifname != lo meta l4proto {{ tcp, udp }} {only}"):
        for user in (REFUSED, OTHER):
            assert PROHIBITED.issuperset(outcomes(bed, address, port, user))
    with laid(
        bed, f'oifname "{TUN}" {only}', f'oifname "eth0" meta skuid != {{ 0, {OTHER} }} drop'
    ):
        assert outcomes(bed, address, port, OTHER) == ["connected", "answered"]
        assert outcomes(bed, address, port, REFUSED) == outcomes(
            bed, family.far(BARE), port, REFUSED
        )
