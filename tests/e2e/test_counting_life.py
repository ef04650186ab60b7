"""Counting answers: what is left of it, and what `status` shows where there is none."""

from __future__ import annotations

from pathlib import Path
from socket import SOCK_DGRAM

import pytest

from tests.e2e.ingress import programs_at
from tests.e2e.marks import WITH_AND_WITHOUT_TCX
from tests.e2e.netns import Namespace
from tests.e2e.status import PING, Answers, read_status
from tests.e2e.testbed import V4, V6, Testbed
from tests.e2e.tunrouter import (
    GUARD,
    HEAD,
    KILLED,
    PROGRAM,
    WITHOUT_TCX,
    Tunrouter,
    rules,
    running,
)
from tests.e2e.wait import wait_until

HOST = 1
RULES = rules(f"{V4.far(HOST)} -> home")
WITHOUT_BPF = ("setpriv", "--bounding-set", "-cap_39,-sys_admin")
"""Without CAP_BPF (linux/capability.h)."""


@WITH_AND_WITHOUT_TCX
@pytest.mark.parametrize("killed", KILLED, ids="+".join)
def test_sigkill_leaves_nothing(
    bed: Testbed, tmp_path: Path, program: tuple[str, ...], killed: tuple[str, ...]
) -> None:
    before = counters_at(bed.router, "eth0")
    with running(bed.router, tmp_path, RULES, program=program) as router:
        programs, sockets = counters_at(bed.router, "eth0")
        by_sockets = program == WITHOUT_TCX
        assert (bool(programs), bool(sockets)) == (not by_sockets, by_sockets)
        router.kill(killed)
        wait_until(lambda: counters_at(bed.router, "eth0") == before, "its counters to be gone")
        wait_until(lambda: not router.pids(), "all of its processes to end")
        router.stop()


def test_an_interface_that_comes_back(bed: Testbed, tmp_path: Path, reopened_tunnel: None) -> None:
    text = rules(f"{V4.far(HOST)} -> office", f"{V6.far(HOST)} -> office")
    with running(bed.router, tmp_path, text) as router:
        office = Answers(bed.router, "office")
        for family in (V4, V6):
            ping_from(bed.router, family.far(HOST), family.wg0)
        descriptors = descriptors_of(router)
        bed.close_tunnel()
        router.wait_until_down("office")
        bed.open_tunnel()
        router.wait_until_up("office", V4.wg0, V6.wg0)
        for family in (V4, V6):
            ping_from(bed.router, family.far(HOST), family.wg0)
        assert office.since() == (4, 2 * sum(PING.values()))
        assert descriptors_of(router) == descriptors


def test_a_system_that_refuses(bed: Testbed, tmp_path: Path) -> None:
    """There is no count as soon as an answer is missing in it."""
    with running(bed.router, tmp_path, RULES, prefix=WITHOUT_BPF) as router:
        assert "refuses to count answers" in router.log
        bed.client.run("ping", "-c1", "-W", "20", V4.far(HOST))
        assert read_status(bed.router)["policies"]["home"]["packets_in"] == 1
        ping_from(bed.router, V4.far(HOST), V4.eth0)
        found = read_status(bed.router)["policies"]["home"]
        assert (found["packets_in"], found["bytes_in"]) == (None, None)
        assert found["packets_out"] == 2
        shown = bed.router.run(PROGRAM, "status").stdout.splitlines()
        [line] = [line for line in shown if line.startswith("home")]
        assert line.split()[-2:] == ["-", "-"]


def test_two_policies_of_one_interface(bed: Testbed, tmp_path: Path) -> None:
    """By addresses alone their answers cannot be told apart."""
    head = HEAD + "  other: {type: direct, interface: eth0}\n"
    text = rules(f"{V4.far(HOST)} -> home", f"{V4.far(HOST + 1)} -> home", head=head)
    text = text.replace("rules:\n", RULE_FOR_TCP)
    with running(bed.router, tmp_path, text):
        ping_from(bed.router, V4.far(HOST + 1), V4.eth0)
        assert read_status(bed.router)["policies"]["home"]["packets_in"] == 1
        ping_from(bed.router, V4.far(HOST), V4.eth0)
        policies = read_status(bed.router)["policies"]
        assert policies["home"]["packets_in"] is None
        assert policies["other"]["packets_in"] == 0


RULE_FOR_TCP = f"""rules:
  - {{cidr: {V4.far(HOST)}, protocol: tcp, policy: other}}
"""


def counters_at(namespace: Namespace, interface: str) -> tuple[list[int], set[str]]:
    """Programs at the ingress of the interface, and the inodes of packet sockets that are given
    packets without a link header (/proc/net/packet)."""
    lines = namespace.run("cat", "/proc/net/packet").stdout.splitlines()[1:]
    sockets = {line.split()[-1] for line in lines if int(line.split()[2]) == SOCK_DGRAM}
    return programs_at(namespace, interface), sockets


def descriptors_of(router: Tunrouter) -> list[str]:
    """Of programs and their links that the guard has."""
    directory = Path(f"/proc/{router.processes()[GUARD]}/fd")
    found = (str(each.readlink()) for each in directory.iterdir())
    return sorted(name for name in found if "bpf-prog" in name or "bpf_link" in name)


def ping_from(namespace: Namespace, address: str, source: str) -> None:
    """One, which is answered."""
    namespace.run("ping", "-c1", "-W", "20", "-I", source, address)
