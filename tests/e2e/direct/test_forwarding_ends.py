"""How forwarding in the kernel ends: by a rule of the host, with the router, or with a process of
it that is killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from struct import pack
from typing import Final

import pytest

from router.platform.linux.bpf import syscall
from tests.e2e.direct.ends import is_direct
from tests.e2e.direct.forwarding import FORWARDS, TunFile, tun_file
from tests.e2e.direct.sent_bytes import SentBytes
from tests.e2e.direct.uploads import MORE, Upload, upload
from tests.e2e.testbed import V4, V6, Family, Testbed, opened_testbed
from tests.e2e.tunrouter import GUARD, ROUTER, TUN, Tunrouter, running
from tests.e2e.udp import HOME, RULES
from tests.e2e.wait import wait_until

AT_ONCE_S: Final = 0.25
GET_BY_ID: Final = {"prog_id": 13, "map_id": 14, "link_id": 30}
"""Commands of bpf(2) for a descriptor of what has an ID, by the name of that in fdinfo."""
TABLE: Final = "table {family} test {{\n chain c {{\n type filter hook {hook}\n {rule}\n }}\n}}\n"
OUTPUT: Final = partial(TABLE.format, family="inet", hook="output priority 0")
RULES_OF_A_HOST: Final[dict[str, tuple[Family, str]]] = {
    "drop": (V4, OUTPUT(rule="oifname eth0 drop")),
    "reject": (V6, OUTPUT(rule="oifname eth0 reject")),
    "policy": (V6, OUTPUT(rule=f"policy drop; oifname {TUN} accept")),
    "egress": (
        V4,
        TABLE.format(family="netdev", hook="egress device eth0 priority 0", rule="drop"),
    ),
    "iptables-nft": (V6, "ip6tables-nft -A OUTPUT -o eth0 -j DROP"),
}
LEGACY: Final = {V4: "iptables-legacy", V6: "ip6tables-legacy"}


@contextmanager
def forwarded_upload(
    bed: Testbed, router: Tunrouter, family: Family
) -> Iterator[tuple[Upload, TunFile]]:
    address = family.far(HOME)
    wait_until(
        partial(is_direct, bed, family, address), "the direct path", detail=lambda: router.log
    )
    with upload(bed, family, address) as sending, tun_file(bed) as file:
        more = partial(sending.wait_for_more, MORE)
        if FORWARDS:
            wait_until(lambda: file.passes(more) < MORE >> 18, "the upload to be forwarded")
        else:
            assert file.passes(more) >= MORE >> 16
        yield sending, file


def assert_stopped_by(
    bed: Testbed, directory: Path, family: Family, command: Sequence[str], stdin: str = ""
) -> None:
    """Within AT_ONCE_S, but that the router may be kept waiting on a busy machine: then no more
    leaves than in such a time before."""
    with (
        running(bed.router, directory, RULES) as router,
        forwarded_upload(bed, router, family) as (sending, _),
        SentBytes(bed.router, "eth0") as sent,
    ):
        wait_until(lambda: sent.seconds > AT_ONCE_S, "some time of the upload")
        bed.router.run(*command, stdin=stdin)
        laid = time.monotonic()
        wait_until(sending.is_silent, "the upload to stand still")
        took, more = sent.since(laid)
        most = sent.most_within(AT_ONCE_S, laid)
        assert took < AT_ONCE_S or more < most, f"{took:.3f} s, {more} bytes of at most {most}"


@pytest.mark.parametrize("kind", list(RULES_OF_A_HOST))
def test_a_rule_stops_it_at_once(bed: Testbed, tmp_path: Path, kind: str) -> None:
    family, rule = RULES_OF_A_HOST[kind]
    command = ["nft", "-f", "-"] if rule.startswith("table") else rule.split()
    try:
        assert_stopped_by(bed, tmp_path, family, command, rule)
    finally:
        bed.router.run("nft", "flush", "ruleset")


def test_a_rule_of_iptables_legacy_stops_it_at_once(tmp_path: Path, family: Family) -> None:
    """Its tables last as long as the network, which is one of its own."""
    with opened_testbed() as bed:
        rule = "-A", "OUTPUT", "-o", "eth0", "-j", "DROP"
        assert_stopped_by(bed, tmp_path, family, [LEGACY[family], *rule])


def kernel_objects(router: Tunrouter) -> Set[tuple[str, int]]:
    """Programs, maps and links that its processes have open."""
    found = set()
    for pid in router.pids():
        for file in Path(f"/proc/{pid}/fdinfo").iterdir():
            with suppress(OSError):
                for line in file.read_text().splitlines():
                    name, _, number = line.partition(":")
                    if name in GET_BY_ID:
                        found.add((name, int(number)))
    return found


def is_there(kind: str, number: int) -> bool:
    try:
        os.close(syscall.bpf(GET_BY_ID[kind], pack("=III", number, 0, 0)))
    except FileNotFoundError:
        return False
    return True


def stop(router: Tunrouter) -> None:
    assert router.stop().exit_code == 0


ENDS: Final[dict[str, Callable[[Tunrouter], object]]] = {
    "stopped": stop,
    "router-killed": lambda router: router.kill([ROUTER]),
    "guard-killed": lambda router: router.kill([GUARD]),
}


@pytest.mark.parametrize("how", list(ENDS))
def test_an_upload_outlives_the_router(
    bed: Testbed, tmp_path: Path, family: Family, how: str
) -> None:
    """By the way that it has without one; nothing of the program is left."""
    with (
        running(bed.router, tmp_path, RULES) as router,
        forwarded_upload(bed, router, family) as (sending, _),
    ):
        objects = kernel_objects(router)
        assert ("link_id" in {kind for kind, _ in objects}) == FORWARDS
        ENDS[how](router)
        wait_until(lambda: not router.pids(), "the router to end", detail=lambda: router.log)
        sending.wait_for_more(MORE)
        assert not bed.router.has_interface(TUN)
        wait_until(lambda: not any(is_there(*each) for each in objects), "nothing to be left")
