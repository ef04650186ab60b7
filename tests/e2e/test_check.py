"""check and explain compared with what happens: the routes that run installs, the kernel's route
lookup, and what a ping then finds; as a user without privileges, and without changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.coexistence import within_tunnel
from tests.e2e.snapshot import state
from tests.e2e.test_bad_rules import UNPRIVILEGED
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import HEAD, PROGRAM, TUN, rules, run_to_end, running, write_rules

OUR_PROTOCOL = "116"
LISTED = "".join(f"10.{high}.{low * 2}.0/24\n" for high in range(100, 110) for low in range(20))

PLANS = {
    "both families, two outbounds": rules(
        *(f"{family.far(1)} -> home" for family in FAMILIES),
        *(f"{family.office_net} -> office" for family in FAMILIES),
    ),
    "holes": rules(
        "198.51.100.7 -> bypass",
        "198.51.100.64/26 -> bypass",
        "198.51.100.0/24 -> home",
        "2001:db8:100::8000:0:0:0/65 -> bypass",
        "2001:db8:100::/64 -> office",
    ),
    "protocols and ports": HEAD
    + """\
rules:
  - {cidr: 198.51.100.0/24, protocol: tcp, port: [443, 8000-8100], policy: office}
  - {cidr: 198.51.100.0/25, protocol: icmp, policy: bypass}
  - {cidr: ["2001:db8:100::/64"], protocol: [udp], policy: home}
""",
    "everything": rules("203.0.113.0/24 -> bypass", default="home"),
    "everything but a VPN": rules(
        "198.18.0.0/24 -> office", "10.1.0.0/24 -> bypass", default="home"
    ),
    "answered by the router, or not at all": rules(
        "198.51.100.1 -> reply", "198.51.100.2 -> drop", "2001:db8:100::3 -> reject"
    ),
    "a list": HEAD
    + "rules:\n  - {file: list.txt, policy: office}\n  - {cidr: 10.64.0.0/10, policy: home}\n",
    "an outbound that is down": HEAD
    + "  lab: {type: vpn, interface: absent0, on_down: office}\n"
    + "rules:\n  - {cidr: 198.51.100.0/24, policy: lab}\n",
}

EXPLAINED = rules(
    *(f"{family.far(1)} -> home" for family in FAMILIES),
    *(f"{family.far(2)} -> office" for family in FAMILIES),
    *(f"{family.far(3)} -> reject" for family in FAMILIES),
    *(f"{family.far(4)} -> reply" for family in FAMILIES),
    "10.0.0.0/8 -> office",
    "fd00::/8 -> office",
)


def checked(bed: Testbed, rules_file: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """What `check` reports, as JSON, as a user without privileges."""
    command = (*UNPRIVILEGED, PROGRAM, "check", "-c", str(rules_file), "--format", "json")
    done = bed.router.run(*command, *options, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def explained(bed: Testbed, rules_file: Path, destination: str) -> dict[str, Any]:
    command = (*UNPRIVILEGED, PROGRAM, "explain", destination, "-c", str(rules_file), "--json")
    report: dict[str, Any] = json.loads(bed.router.run(*command).stdout)
    return report


Listed = tuple[str, str, int, str | None]
"""(prefix, device, MTU, source) of a route."""


def installed(bed: Testbed) -> list[Listed]:
    """The routes in place that are ours, as the kernel lists them, but for those without a source
    beneath those with one."""
    found = []
    for family in FAMILIES:
        command = ("ip", f"-{family.version}", "-j", "route", "show", "proto", OUR_PROTOCOL)
        for route in json.loads(bed.router.run(*command).stdout or "[]"):
            prefix = {"default": family.every}.get(route["dst"], route["dst"])
            if "/" not in prefix:
                prefix = f"{prefix}/{family.host_bits}"
            mtu = route["metrics"][0]["mtu"] if "metrics" in route else route["mtu"]
            found.append((prefix, route["dev"], mtu, route.get("prefsrc")))
    sourced = {(prefix, device, mtu) for prefix, device, mtu, source in found if source}
    return sorted(
        (each for each in found if each[3] or each[:3] not in sourced), key=lambda each: each[:3]
    )


def planned(report: Mapping[str, Any]) -> list[Listed]:
    routes = report["plan"]["routes"]
    return sorted(
        ((each["prefix"], each["device"], each["mtu"], each.get("source")) for each in routes),
        key=lambda each: each[:3],
    )


@pytest.mark.parametrize("plan", PLANS)
def test_what_check_plans_is_what_run_installs(bed: Testbed, tmp_path: Path, plan: str) -> None:
    (tmp_path / "list.txt").write_text(LISTED, encoding="utf-8")
    rules_file = write_rules(tmp_path, PLANS[plan])
    expected = planned(checked(bed, rules_file))
    assert expected
    with running(bed.router, tmp_path, PLANS[plan]):
        assert installed(bed) == expected
        # A second look, with the routes of the first in place, comes to the same.
        assert planned(checked(bed, rules_file)) == expected


@pytest.mark.parametrize("head", [HEAD, HEAD.replace(f"  name: {TUN}\n", "")], ids=["a name", ""])
def test_the_tun_of_a_router_without_routes_is_recognized(
    bed: Testbed, tmp_path: Path, head: str
) -> None:
    """After the router has ended, an interface of that name or address is an error, as a persistent
    TUN of another user; a run leaves it as it is."""
    text = rules("198.51.100.0/24 -> bypass", head=head)
    rules_file = write_rules(tmp_path, text)
    before = checked(bed, rules_file)
    with running(bed.router, tmp_path, text):
        assert checked(bed, rules_file) == before
    bed.router.ip(f"tuntap add {TUN} mode tun user nobody")
    try:
        bed.router.ip(f"addr add {V4.tun}/30 dev {TUN}")
        report = checked(bed, rules_file, code=1)
        errors = {each["code"] for each in report["problems"] if each["severity"] == "error"}
        assert errors == {"tun-name-taken" if head == HEAD else "tun-address-taken"}
        state = bed.router.run("ip", "addr", "show", TUN).stdout
        assert run_to_end(bed.router, "run", "-c", str(rules_file)).exit_code != 0
        assert bed.router.run("ip", "addr", "show", TUN).stdout == state
    finally:
        bed.router.ip(f"link delete {TUN}")


def test_ten_thousand_routes(bed: Testbed, tmp_path: Path) -> None:
    prefixes = [f"11.{number >> 7}.{(number & 127) * 2}.0/24" for number in range(10_000)]
    (tmp_path / "list.txt").write_text("\n".join(prefixes), encoding="utf-8")
    with running(bed.router, tmp_path, HEAD + "rules:\n  - {file: list.txt, policy: office}\n"):
        assert installed(bed) == sorted((prefix, TUN, 1420, V4.wg0) for prefix in prefixes)


def test_it_changes_nothing(bed: Testbed, tmp_path: Path) -> None:
    rules_file = write_rules(tmp_path, PLANS["everything"])
    before = state(bed.router)
    report = checked(bed, rules_file)
    explained(bed, rules_file, V4.far(1))
    assert state(bed.router) == before
    assert [each for each in report["plan"]["unread"] if "packet filter" not in each] == []


STRICT_PATHS = """
table inet check_test {
    chain prerouting {
        type filter hook prerouting priority raw
        icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
        fib saddr . mark . iif oif missing drop
    }
    chain output {
        type filter hook output priority 0
        oifname eth0 counter
    }
}
"""


def test_the_hosts_own_rules(bed: Testbed, tmp_path: Path) -> None:
    """As root and as another user; and what a run says of them."""
    text = rules(
        *(f"{family.far(1)} -> home" for family in FAMILIES),
        *(f"{family.far(2)} -> office" for family in FAMILIES),
    )
    rules_file = write_rules(tmp_path, text)
    command = (PROGRAM, "check", "-c", str(rules_file), "--format", "json")
    (unread,) = checked(bed, rules_file)["plan"]["unread"]
    assert "packet filter" in unread
    assert "by sudo" in unread
    without = json.loads(bed.router.run(*command).stdout)
    assert (without["problems"], without["plan"]["unread"]) == ([], [])
    assert all("source" in route for route in without["plan"]["routes"])
    bed.router.run("nft", "-f", "-", stdin=STRICT_PATHS)
    try:
        report = json.loads(bed.router.run(*command).stdout)
        assert [each["code"] for each in report["problems"]] == ["reverse-path-check"] * 2
        assert "chain prerouting" in report["problems"][0]["message"]
        assert "IPv6_rpfilter=loose" in report["problems"][1]["help"]
        assert any("eth0 are relayed" in note for note in report["plan"]["notes"])
        with running(bed.router, tmp_path, text) as router:
            assert installed(bed) == planned(report)
            assert router.log.count("drops what arrives by another interface") == 2
            assert "IPv6_rpfilter=loose" in router.log
    finally:
        bed.router.run("nft", "delete", "table", "inet", "check_test")


def test_endpoints_are_for_root_to_read(bed: Testbed, tmp_path: Path) -> None:
    rules_file = write_rules(tmp_path, rules("203.0.113.0/24 -> office", "198.18.0.1 -> home"))
    command = (*UNPRIVILEGED, PROGRAM, "check", "-c", str(rules_file), "--format", "json")
    done = within_tunnel(bed).run(*command)
    assert "only root may" in json.loads(done.stdout)["plan"]["unread"][0]


def test_the_system_is_seen_as_it_is(bed: Testbed, tmp_path: Path) -> None:
    text = rules(
        "192.0.2.0/24 -> office",
        "10.0.0.0/8 -> home",
        "192.168.0.0/16 -> home",
        head=HEAD.replace("wg0}", "wg0}\n  lab: {type: vpn, interface: wg1}"),
        default="lab",
    )
    report = checked(bed, write_rules(tmp_path, text))
    codes = {problem["code"] for problem in report["problems"]}
    assert codes == {
        "gateway-captured",
        "missing-interface",
        "route-overridden",
        "tun-address-captured",
    }
    assert any("wg0" in note and "10.8.0.0/24" in note for note in report["plan"]["notes"])
    help_lines = {problem["code"]: problem["help"] for problem in report["problems"]}
    assert "did you mean 'wg0'?" in help_lines["missing-interface"]


def test_explain_agrees_with_the_kernel(bed: Testbed, tmp_path: Path, family: Family) -> None:
    rules_file = write_rules(tmp_path, EXPLAINED)
    destinations = [family.far(host) for host in (1, 2, 5)]
    destinations += [family.eth0, family.client, family.office(1)]
    before = {each: explained(bed, rules_file, each) for each in destinations}
    with running(bed.router, tmp_path, EXPLAINED):
        for destination, report in before.items():
            [route] = json.loads(bed.router.run("ip", "-j", "route", "get", destination).stdout)
            assert report["captured"] == (route["dev"] == TUN), destination
            if not report["captured"]:
                local = report["kernel"].startswith("delivers")
                assert report["interface"] == route["dev"] or local
                assert report["source"] == route["prefsrc"]
                assert report["gateway"] == route.get("gateway")
            now = explained(bed, rules_file, destination)
            if report["captured"]:
                assert report.pop("kernel").startswith("would send it to the TUN, by our route ")
                assert now.pop("kernel").startswith("sends it to the TUN, by our route ")
            assert now == report


def test_explain_agrees_with_what_a_ping_finds(
    bed: Testbed, tmp_path: Path, family: Family
) -> None:
    rules_file = write_rules(tmp_path, EXPLAINED)
    report = {host: explained(bed, rules_file, family.far(host)) for host in (1, 2, 3, 4)}
    assert [each["action"] for each in report.values()] == ["forward", "forward", "reject", "reply"]
    by = {"eth0": "home0", "wg0": "vpn0"}
    with running(bed.router, tmp_path, EXPLAINED), Capture(bed.far) as far:
        for host in (1, 2):
            assert ping.answered(bed.router, family.far(host)).received == 3
            expected = {(by[report[host]["interface"]], report[host]["source"])}
            assert far.arrivals(family.far(host)) == expected
        assert ping.refused(bed.router, family.far(3)).prohibited == 3
        assert ping.answered(bed.router, family.far(4)).received == 3
        assert far.arrivals(family.far(4)) == set()


def test_the_name_of_an_interface_commands_no_terminal(bed: Testbed, tmp_path: Path) -> None:
    name = "e\x1b[31mx"
    rules_file = write_rules(tmp_path, rules("198.51.100.0/24 -> home"))
    bed.router.run("ip", "link", "add", name, "type", "veth", "peer", "name", "odd0")
    try:
        for each in (name, "odd0"):
            bed.router.run("ip", "link", "set", each, "up")
        bed.router.run("ip", "address", "add", "10.77.0.1/24", "dev", name)
        found = bed.router.run(PROGRAM, "explain", "-c", str(rules_file), "10.77.0.2").stdout
        assert r"by e\x1b[31mx from 10.77.0.1" in found
        assert found.replace("\n", "").isprintable()
    finally:
        bed.router.run("ip", "link", "delete", "odd0")


def test_a_foreign_route_is_named(bed: Testbed, tmp_path: Path) -> None:
    text = rules(f"{V4.far_net} -> home", f"{V6.far_net} -> office")
    rules_file = write_rules(tmp_path, text)
    bed.router.ip("route add 198.51.100.128/25 dev wg0")
    try:
        report = checked(bed, rules_file)
        [problem] = report["problems"]
        assert problem["code"] == "route-wins"
        assert "198.51.100.128/25 of wg0" in problem["message"]
        answer = explained(bed, rules_file, V4.far(200))
        assert (answer["captured"], answer["interface"]) == (False, "wg0")
        assert "wg0" in answer["kernel"]
    finally:
        bed.router.ip("route del 198.51.100.128/25 dev wg0")
