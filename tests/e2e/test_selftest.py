"""`tunrouter selftest` on machines that lack something: it says so, its remedy is one, and a run
there shows that it was right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e import ping
from tests.e2e.netns import Namespace, unique_prefix
from tests.e2e.processes import Process
from tests.e2e.snapshot import state
from tests.e2e.test_bad_rules import UNPRIVILEGED
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import PROGRAM, relayed, rules, run_to_end, running, write_rules
from tests.e2e.wait import wait_until

FAR = V4.far(1)
CAPTURED = relayed(rules(f"{FAR} -> home", f"{V4.far(2)} -> office"))

NO_TUN = "mount -t tmpfs none /dev/net"
READ_ONLY = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys"
AS_THEY_SHOULD_BE = {
    "ipv4/conf/default/rp_filter": "2",
    "ipv6/conf/default/addr_gen_mode": "1",
}


class Told(NamedTuple):
    exit_code: int
    checks: dict[str, dict[str, Any]]
    unseen: list[str]


def within(mounts: str) -> tuple[str, ...]:
    """Before a command line: runs it where something is mounted differently."""
    return ("unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh")


def told(namespace: Namespace, *arguments: str, prefix: tuple[str, ...] = ()) -> Told:
    done = namespace.run(*prefix, PROGRAM, "selftest", "--json", *arguments, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    checks = {each["id"]: each for each in found["checks"]}
    assert all(each["remedy"] for each in checks.values() if each["status"] != "ok")
    missing = any(each["status"] == "missing" for each in checks.values())
    assert (found["status"] == "missing") is missing is (done.returncode == 1)
    return Told(done.returncode, checks, found["unseen"])


@contextmanager
def filtered(namespace: Namespace, *commands: str) -> Iterator[None]:
    namespace.run("nft", "add", "table", "inet", "tested")
    try:
        for each in commands:
            namespace.run("nft", *each.split())
        yield
    finally:
        namespace.run("nft", "delete", "table", "inet", "tested")


def test_a_machine_that_has_everything(bed: Testbed, tmp_path: Path) -> None:
    before = state(bed.router)
    found = told(bed.router, "-c", str(write_rules(tmp_path, CAPTURED)))
    assert state(bed.router) == before
    assert found.exit_code == 0
    assert {each["status"] for each in found.checks.values()} == {"ok"}
    home, office = found.checks["way-home"]["finding"], found.checks["way-office"]["finding"]
    for way, finding in (("eth0", home), ("wg0", office)):
        mtu = bed.router.run("cat", f"/sys/class/net/{way}/mtu").stdout.strip()
        assert f"{way}: MTU {mtu}, IPv4 from" in finding
    route = bed.router.run("ip", "-4", "route", "show", "default").stdout
    assert f"by the gateway {route.split()[2]}" in home


def test_without_rules_every_interface_is_a_way(bed: Testbed) -> None:
    found = told(bed.router)
    assert {"way-eth0", "way-wg0"} <= found.checks.keys()
    assert "way-lo" not in found.checks


def test_no_tun_device(bed: Testbed, tmp_path: Path) -> None:
    found = told(bed.router, prefix=within(NO_TUN))
    assert found.exit_code == 1
    assert found.checks["tun"]["finding"] == "/dev/net/tun: it does not exist"
    run = run_to_end(
        bed.router, "run", "-c", str(write_rules(tmp_path, CAPTURED)), prefix=within(NO_TUN)
    )
    assert (run.exit_code, "/dev/net/tun does not exist" in run.log) == (1, True)


def test_a_container_without_the_device(bed: Testbed) -> None:
    """The remedies are options of what starts containers."""
    marked = "mount -t tmpfs none /run/systemd && echo podman >/run/systemd/container"
    found = told(bed.router, prefix=within(f"{marked} && {NO_TUN}"))
    assert (
        found.checks["container"]["finding"] == "this is a container (podman): the checks are of it"
    )
    assert found.checks["tun"]["status"] == "missing"
    assert "--device /dev/net/tun" in found.checks["tun"]["remedy"]


def test_a_resolver_that_the_rules_capture(bed: Testbed, tmp_path: Path) -> None:
    servers = tmp_path / "resolv.conf"
    servers.write_text(f"nameserver {V4.far(2)}\n")
    prefix = within(f"mount --bind {servers} /etc/resolv.conf")
    alone = told(bed.router, prefix=prefix).checks["resolvers"]
    assert (alone["status"], alone["finding"]) == ("ok", V4.far(2))
    file = str(write_rules(tmp_path, CAPTURED))
    found = told(bed.router, "-c", file, prefix=prefix).checks["resolvers"]
    assert found["status"] == "warning"
    assert f"{V4.far(2)} is a DNS server" in found["finding"]


def test_settings_that_cannot_be_written(bed: Testbed, tmp_path: Path) -> None:
    """The remedy is applied to the defaults, and then a run is possible."""
    prefix = within(READ_ONLY)
    found = told(bed.router, prefix=prefix)
    assert found.checks["proc-sys"]["status"] == "missing"
    file = str(write_rules(tmp_path, CAPTURED))
    assert run_to_end(bed.router, "run", "-c", file, prefix=prefix).exit_code == 1

    options = found.checks["proc-sys"]["remedy"].split("with --sysctl ")[1].split(" --sysctl ")
    assert {option.partition("=")[0] for option in options} == {
        f"net.{path.replace('/', '.')}" for path in AS_THEY_SHOULD_BE
    }
    before = {
        path: bed.router.run("cat", f"/proc/sys/net/{path}").stdout.strip()
        for path in AS_THEY_SHOULD_BE
    }
    bed.router.run("sysctl", "-w", *options)
    try:
        assert told(bed.router, prefix=prefix).checks["proc-sys"]["status"] == "ok"
        with running(bed.router, tmp_path, CAPTURED, prefix=prefix):
            ping.answered(bed.router, FAR, count=1)
    finally:
        for path, value in before.items():
            bed.router.run("sysctl", "-w", f"net/{path}={value}")


def test_a_strict_reverse_path_check(bed: Testbed) -> None:
    bed.router.sysctl(ipv4__conf__eth0__rp_filter=1)
    try:
        may_be_changed = told(bed.router).checks["rp-filter"]
        fixed = told(bed.router, prefix=within(READ_ONLY)).checks["rp-filter"]
    finally:
        bed.router.sysctl(ipv4__conf__eth0__rp_filter=0)
    assert (may_be_changed["status"], fixed["status"]) == ("ok", "missing")
    assert "strict on eth0" in may_be_changed["finding"]
    assert "rp_filter=2" in fixed["remedy"]


def test_a_firewall_that_drops_what_arrives(bed: Testbed, tmp_path: Path) -> None:
    """As the check says, packets are lost; after its remedies none is."""
    file = str(write_rules(tmp_path, CAPTURED))
    chain = "add chain inet tested input { type filter hook input priority 0 ; policy drop ; }"
    loopback = "add rule inet tested input iif lo accept"
    with running(bed.router, tmp_path, CAPTURED), filtered(bed.router, chain, loopback):
        found = told(bed.router, "-c", file).checks
        answers, connections = found["firewall"], found["firewall-tcp"]
        assert (answers["status"], connections["status"]) == ("missing", "missing")
        assert "the chain input of the nftables table inet tested" in answers["finding"]
        ping.unanswered(bed.router, FAR, count=1)

        _apply(bed, answers["remedy"])
        found = told(bed.router, "-c", file).checks
        assert (found.get("firewall"), found["firewall-tcp"]) == (None, connections)
        ping.answered(bed.router, FAR, count=1)

        _apply(bed, connections["remedy"])
        assert told(bed.router, "-c", file).checks["firewall"]["status"] == "ok"


def _apply(bed: Testbed, remedy: str) -> None:
    _, _, command = remedy.partition(": ")
    assert command.startswith("nft insert rule inet tested input ")
    bed.router.run(*command.split())


def test_a_firewall_that_does_not_let_other_hosts_through(bed: Testbed) -> None:
    """As that of a host of containers: a policy, and what is accepted of these alone."""
    chain = "add chain inet tested passing { type filter hook forward priority 0 ; policy drop ; }"
    others = "add rule inet tested passing iifname docker0 oifname != docker0 accept"
    with filtered(bed.router, chain, others):
        found = told(bed.router).checks["firewall-forward"]
        assert found["status"] == "warning"
        for each in found["remedy"].split(": nft ")[1:]:
            bed.router.run("nft", *each.partition(";")[0].split())
        assert "firewall-forward" not in told(bed.router).checks


ESTABLISHED = "ct state established,related accept"
VERDICTS = "ct state vmap { established : accept , related : accept }"


@pytest.mark.parametrize(
    ("policy", "rules_of_chain", "dropped"),
    [
        ("drop", [ESTABLISHED], ["firewall-tcp"]),
        ("drop", [VERDICTS], []),
        ("drop", ["jump other"], ["firewall-tcp"]),
        ("drop", ["tcp dport 25 drop"], ["firewall", "firewall-tcp"]),
        ("drop", ["iifname eth* accept", "iifname wg0 accept"], ["firewall-tcp"]),
        ("accept", ["ct state invalid drop", "tcp dport { 25 , 80 } drop"], []),
        ("accept", ["iifname wg0 reject"], ["firewall"]),
        ("accept", [ESTABLISHED, "counter log reject"], ["firewall-tcp"]),
    ],
    ids=str,
)
def test_which_chains_drop_for_certain(
    bed: Testbed, tmp_path: Path, policy: str, rules_of_chain: list[str], dropped: list[str]
) -> None:
    file = str(write_rules(tmp_path, CAPTURED))
    hook = f"type filter hook input priority 0 ; policy {policy} ;"
    commands = [
        "add chain inet tested other",
        f"add rule inet tested other {ESTABLISHED}",
        f"add chain inet tested input {{ {hook} }}",
        *(f"add rule inet tested input {each}" for each in rules_of_chain),
    ]
    with filtered(bed.router, *commands):
        found = told(bed.router, "-c", file).checks
    missing = sorted(each for each in found if found[each]["status"] == "missing")
    assert missing == dropped


def test_a_rule_of_another_vpn_that_wins(bed: Testbed, tmp_path: Path) -> None:
    bed.router.ip("route add default dev wg0 table 100", "rule add pref 100 from all lookup 100")
    try:
        alone = told(bed.router)
        beside = told(bed.router, "-c", str(write_rules(tmp_path, CAPTURED)))
    finally:
        bed.router.ip("rule del pref 100", "route flush table 100")
    for found in (alone, beside):
        assert found.exit_code == 0
        assert found.checks["other-routes"]["status"] == "warning"
        assert "wg0" in found.checks["other-routes"]["finding"]
    assert told(bed.router).checks["other-routes"]["status"] == "ok"


def test_a_policy_without_its_interface(bed: Testbed, tmp_path: Path) -> None:
    text = CAPTURED.replace("interface: wg0", "interface: wg9")
    found = told(bed.router, "-c", str(write_rules(tmp_path, text)))
    assert found.checks["way-office"]["status"] == "warning"
    assert "'wg9'" in found.checks["way-office"]["finding"]
    assert found.exit_code == 0


def test_a_machine_without_ipv6_and_without_a_network() -> None:
    bare = Namespace(unique_prefix() + "bare")
    bare.create()
    try:
        bare.sysctl(ipv6__conf__all__disable_ipv6=1)
        found = told(bare)
        assert found.checks["ipv6"]["status"] == "warning"
        assert "IPv6 is disabled" in found.checks["ipv6"]["finding"]
        assert found.checks["ways"]["status"] == "missing"
    finally:
        bare.delete()


def test_without_root_it_says_what_it_could_not_see(bed: Testbed) -> None:
    found = told(bed.router, prefix=UNPRIVILEGED)
    assert found.exit_code == 0
    assert found.checks["rights"]["status"] == "warning"
    assert found.checks["firewall"]["status"] == "warning"
    assert any("packet filter" in each for each in found.unseen)


def test_a_root_that_may_not_change_the_network(bed: Testbed) -> None:
    prefix = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    found = told(bed.router, prefix=prefix)
    assert found.exit_code == 1
    assert found.checks["rights"]["finding"] == "root has no CAP_NET_RAW here"


def test_for_people(bed: Testbed, tmp_path: Path) -> None:
    """A line for each check and one for each remedy; bad rules are shown as by `check`."""
    done = bed.router.run(*within(NO_TUN), PROGRAM, "selftest", check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("missing  tun "))
    assert lines[at + 1].strip().startswith("-> ")
    assert lines[-1] == "something that a run needs is missing"
    bad = write_rules(tmp_path, "rules: [")
    done = bed.router.run(PROGRAM, "selftest", "-c", str(bad), check=False)
    assert (done.returncode, "error[" in done.stderr) == (2, True)


def test_no_interface_is_made_not_even_for_a_moment(bed: Testbed) -> None:
    marks = "127.9.0.1", "127.9.0.2"
    watching = bed.router.start("ip", "-o", "monitor", "link", "address", "route", "rule")
    try:
        _make_seen(bed, watching, marks[0])
        told(bed.router)
        _make_seen(bed, watching, marks[1])
        lines = watching.stdout.splitlines()
        assert all(any(mark in line for mark in marks) for line in lines), lines
    finally:
        watching.stop()
        watching.close()


def _make_seen(bed: Testbed, watching: Process, address: str) -> None:
    """Until it is watched."""

    def is_seen() -> bool:
        bed.router.ip(f"address add {address}/32 dev lo", f"address del {address}/32 dev lo")
        return f"{address}/32" in watching.stdout

    wait_until(is_seen, "a change to be watched", detail=watching.report)
