"""Every check, by facts alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import pytest

from router.config.model import Policy, PolicyType, Proxy, Tun
from router.policy.findings.situation import Situation
from router.policy.host_rules.model import Compare, HostRules
from router.policy.machine import checks, extras, network, system
from router.policy.machine.arrivals import (
    ArrivalChain,
    ArrivalRule,
    Aspect,
    Read,
    Undecided,
    Verdict,
)
from router.policy.machine.facts import Facts, Machine, TunDevice, WayOut
from router.policy.machine.result import Result, Status, worst
from router.policy.machine.ways import SOMEWHERE, ways_out
from router.policy.match.table import RuleSet
from router.policy.network import RouteKind, TableLookup
from tests.unit.check.networks import LAPTOP, SnapshotWays, interface, route
from tests.unit.check.networks import network as made_network
from tests.unit.policy.configs import config, rule

SETTINGS = {
    "net/ipv4/ip_forward": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/eth0/rp_filter": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/default/disable_ipv6": "0",
    "net/ipv6/conf/default/addr_gen_mode": "0",
}
MACHINE = Machine(
    release="6.1.0-18-amd64",
    kernel=(6, 1),
    settings=SETTINGS,
    modules=extras.modules(),
    programs=frozenset(extras.PROGRAMS),
)
WAY = WayOut("home", "eth0", 1500, {4: "192.0.2.2", 6: "2001:db8:2::2"}, {4: "192.0.2.1"})
FACTS = Facts(MACHINE, LAPTOP, (WAY,))
OK, WARNING, MISSING = Status


def on(facts: Facts = FACTS, **changes: object) -> Facts:
    """The facts with other ones of the machine."""
    return facts._replace(machine=replace(facts.machine, **changes))  # type: ignore[arg-type]


def with_settings(**values: str | None) -> Facts:
    """`a__b` stands for the path net/a/b."""
    changed = {f"net/{name.replace('__', '/')}": value for name, value in values.items()}
    found = {**SETTINGS, **changed}
    return on(settings={path: value for path, value in found.items() if value is not None})


def statuses(found: Iterable[Result]) -> list[tuple[str, Status]]:
    return [(each.id, each.status) for each in found]


def test_a_machine_with_everything_has_no_other_status_than_ok() -> None:
    found = list(checks.results(FACTS))
    assert {each.status for each in found} == {OK}
    assert len({each.id for each in found}) == len(found)


@pytest.mark.parametrize(
    ("version", "status"), [((5, 6), MISSING), ((4, 19), MISSING), ((5, 7), OK), ((6, 0), OK)]
)
def test_kernel(version: tuple[int, int], status: Status) -> None:
    assert system.kernel(on(kernel=version)).status is status


def test_another_system_is_told_only_what_can_be_said_of_it() -> None:
    facts = on(system="FreeBSD", release="14.1", arrivals=None)
    found = list(checks.results(facts))
    assert statuses(found)[0] == ("kernel", MISSING)
    assert {each.id for each in found[1:]} == {
        "extra-trace", "extra-top", "extra-web", "programs",
    }  # fmt: skip


def test_rights() -> None:
    assert system.rights(FACTS).status is OK
    user = system.rights(on(is_root=False))
    assert (user.status, "sudo" in str(user.remedy)) == (WARNING, True)
    bare = system.rights(on(lacking=frozenset({"CAP_NET_ADMIN", "CAP_BPF"})))
    assert (bare.status, "CAP_NET_ADMIN" in bare.finding) == (MISSING, True)
    counting = system.rights(on(lacking=frozenset({"CAP_BPF"})))
    assert (counting.status, "CAP_BPF" in counting.finding) == (WARNING, True)


def test_rights_of_a_container() -> None:
    """The remedy has every option that is missing, and no other."""
    lacking = frozenset({"CAP_NET_RAW", "CAP_SETUID", "CAP_BPF"})
    inside = system.rights(on(lacking=lacking, container="docker"))
    assert inside.remedy == (
        "start the container with --cap-add NET_RAW --cap-add SETUID --cap-add BPF"
    )
    counting = system.rights(on(lacking=frozenset({"CAP_BPF"}), container="docker"))
    assert (counting.status, "--cap-add BPF" in str(counting.remedy)) == (WARNING, True)


def test_what_a_user_lacks_in_spite_of_sudo_is_missing() -> None:
    facts = on(is_root=False, lacking=frozenset({"CAP_NET_ADMIN"}))
    assert system.rights(facts).status is MISSING


@pytest.mark.parametrize(
    ("device", "is_root", "container", "status", "remedy"),
    [
        (TunDevice.USABLE, True, None, OK, None),
        (TunDevice.ABSENT, True, None, MISSING, "modprobe"),
        (TunDevice.ABSENT, False, "docker", MISSING, "--device /dev/net/tun"),
        (TunDevice.REFUSED, True, "podman", MISSING, "--device /dev/net/tun"),
        (TunDevice.REFUSED, True, None, MISSING, "allow root"),
        (TunDevice.REFUSED, False, None, WARNING, "sudo"),
        (TunDevice.FAILED, True, None, MISSING, "modprobe"),
    ],
)
def test_tun(
    device: TunDevice, is_root: bool, container: str | None, status: Status, remedy: str | None
) -> None:
    found = system.tun(on(tun=device, is_root=is_root, container=container))
    assert found.status is status
    assert (found.remedy is None) if remedy is None else remedy in str(found.remedy)


def test_container() -> None:
    assert "no container" in system.container(FACTS).finding
    assert "docker" in system.container(on(container="docker")).finding


def test_settings_that_can_be_written_are_of_no_matter() -> None:
    assert system.settings(FACTS).status is OK


def test_settings_that_cannot_be_written_but_are_right() -> None:
    right = with_settings(
        ipv4__conf__default__rp_filter="2", ipv6__conf__default__addr_gen_mode="1"
    )
    assert system.settings(on(right, has_read_only_settings=True)).status is OK
    found = system.settings(on(has_read_only_settings=True))
    assert found.status is MISSING
    assert "--sysctl net.ipv4.conf.default.rp_filter=2" in str(found.remedy)
    assert "--sysctl net.ipv6.conf.default.addr_gen_mode=1" in str(found.remedy)
    assert "disable_ipv6" not in str(found.remedy)


def test_settings_of_a_kernel_without_ipv6_are_not_needed() -> None:
    facts = with_settings(
        ipv4__conf__default__rp_filter="2",
        ipv6__conf__default__addr_gen_mode=None,
        ipv6__conf__default__disable_ipv6=None,
    )
    assert system.settings(on(facts, has_read_only_settings=True)).status is OK


@pytest.mark.parametrize(
    ("of_all", "own", "strict"),
    [
        ("0", "0", False),
        ("1", "0", True),
        ("0", "1", True),
        ("2", "1", False),
        ("1", "2", False),
        ("1", None, True),
    ],
)
def test_rp_filter(of_all: str, own: str | None, strict: bool) -> None:
    facts = with_settings(ipv4__conf__all__rp_filter=of_all, ipv4__conf__eth0__rp_filter=own)
    found = system.rp_filter(facts)
    assert (found.status, "strict on eth0" in found.finding) == (OK, strict)
    fixed = system.rp_filter(on(facts, has_read_only_settings=True))
    assert fixed.status is (MISSING if strict else OK)


def test_forwarding() -> None:
    off = system.forwarding(FACTS)
    assert (off.status, str(off.remedy).count("=1")) == (OK, 2)
    half = system.forwarding(with_settings(ipv4__ip_forward="1"))
    assert half.remedy == "as a gateway: sysctl -w net.ipv6.conf.all.forwarding=1"
    on_for_both = with_settings(ipv4__ip_forward="1", ipv6__conf__all__forwarding="1")
    assert system.forwarding(on_for_both).remedy is None


def test_ipv6() -> None:
    assert system.ipv6(FACTS).status is OK
    none = with_settings(ipv6__conf__default__disable_ipv6=None, ipv6__conf__all__disable_ipv6=None)
    disabled = with_settings(ipv6__conf__all__disable_ipv6="1")
    without = FACTS._replace(ways=(WAY._replace(sources={4: "192.0.2.2"}),))
    for facts, words in ((none, "kernel"), (disabled, "disabled"), (without, "no way out")):
        found = system.ipv6(facts)
        assert (found.status, words in found.finding) == (WARNING, True)


# Ways out


def test_a_way_out_has_its_mtu_sources_and_gateways() -> None:
    (found,) = network.ways(FACTS)
    assert found == Result(
        "way-home",
        OK,
        "eth0: MTU 1500, IPv4 from 192.0.2.2 by the gateway 192.0.2.1, "
        "IPv6 from 2001:db8:2::2 on the link",
    )


def test_a_way_out_with_a_small_mtu() -> None:
    (found,) = network.ways(FACTS._replace(ways=(WAY._replace(mtu=1279),)))
    assert (found.status, "mtu 1280" in str(found.remedy)) == (WARNING, True)
    (v4,) = network.ways(FACTS._replace(ways=(WAY._replace(mtu=1279, sources={4: "192.0.2.2"}),)))
    assert v4.status is OK


def test_no_way_out() -> None:
    assert statuses(network.ways(FACTS._replace(ways=()))) == [("ways", MISSING)]
    unread = LAPTOP._replace(readable=False)
    assert list(network.ways(Facts(MACHINE, unread))) == []


def situation(*rules: str, of: object = LAPTOP) -> Situation:
    """From `PREFIX POLICY`."""
    made = config(*(rule(text.split()[1], text.split()[0]) for text in rules))
    made = replace(made, tun=Tun("tun11", (), 1500))
    return Situation.of(made, RuleSet.build(made), of)  # type: ignore[arg-type]


def test_the_ways_of_rules_are_their_policies() -> None:
    found = list(ways_out(LAPTOP, SnapshotWays(LAPTOP), situation()))
    assert [(way.name, way.interface) for way in found] == [("home", "eth0"), ("office", "wg0")]
    assert found[0].gateways[4] == "192.0.2.1"
    assert 4 not in found[1].gateways
    assert found[1].mtu == 1420


def test_a_policy_that_is_down_says_what_applies() -> None:
    of = made_network([interface("eth0", 2, "192.0.2.2/24")], ["0.0.0.0/0 eth0 192.0.2.1"])
    found = list(ways_out(of, SnapshotWays(of), situation(of=of)))
    results = {each.id: each for each in network.ways(Facts(MACHINE, of, found))}
    result = results["way-office"]
    assert result.status is WARNING
    assert "there is no interface 'wg0'" in result.finding
    assert result.remedy == "until then its traffic goes to 'reject'"


def proxied(*policies: Policy, of: object = LAPTOP) -> list[Result]:
    made = config()
    made = replace(made, policies={**made.policies, **{each.name: each for each in policies}})
    about = Situation.of(made, RuleSet.build(made), of)  # type: ignore[arg-type]
    ways = list(ways_out(about.network, SnapshotWays(about.network), about))
    return list(network.ways(Facts(MACHINE, about.network, ways)))[2:]


def by_proxy(host: str, via: str | None = None) -> Policy:
    return Policy("proxy", PolicyType.SOCKS5, on_down="drop", proxy=Proxy(host, 1080, via=via))


def test_the_way_to_a_proxy() -> None:
    (near,) = proxied(by_proxy("198.51.100.7"))
    assert near.finding == (
        "the proxy 198.51.100.7:1080 by eth0: MTU 1500, IPv4 from 192.0.2.2 "
        "by the gateway 192.0.2.1"
    )
    (own,) = proxied(by_proxy("127.0.0.1"))
    assert (own.status, "by lo: MTU 65536" in own.finding) == (OK, True)
    (behind,) = proxied(by_proxy("198.51.100.7", "office"))
    assert (behind.status, "by wg0: MTU " in behind.finding) == (OK, True)


def test_a_proxy_without_a_way() -> None:
    of = made_network([interface("eth0", 2, "192.0.2.2/24")], [])
    down = {
        "198.51.100.7": (None, "there is no route to it"),
        "proxy.example": (None, "its name has no address"),
        "192.0.2.7": ("office", "'office' is down"),
    }
    for host, (via, words) in down.items():
        (found,) = proxied(by_proxy(host, via), of=of)
        assert (found.status, words in found.finding) == (WARNING, True)
        assert found.remedy == "until then its traffic goes to 'drop'"


def test_without_rules_the_ways_are_the_interfaces() -> None:
    of = LAPTOP._replace(own_tuns=frozenset({"wg0"}))
    found = {way.name for way in ways_out(of, None, None)}
    assert found == {"eth0", "eth1", "ppp0"}


def test_a_kernel_that_cannot_be_asked_leaves_the_gateways_out() -> None:
    (found, *_) = ways_out(LAPTOP, None, None)
    assert (found.sources[4], found.gateways) == ("192.0.2.2", {})
    assert set(SOMEWHERE) == {4, 6}


# The packet filter


def chain(*rules: ArrivalRule, drops: bool = True) -> ArrivalChain:
    return ArrivalChain(
        *("the chain input", "nft insert rule inet filter input", (4, 6), "input", drops),
        {"input": rules},
    )


def test_a_packet_filter_that_drops_everything() -> None:
    found = list(network.firewall(on(arrivals=[chain()])))
    assert statuses(found) == [("firewall", MISSING), ("firewall-tcp", MISSING)]
    assert found[0].remedy == (
        "let it accept them: nft insert rule inet filter input ct state established,related accept"
    )
    assert "iifname tun0 meta l4proto tcp accept" in str(found[1].remedy)


def test_a_packet_filter_of_which_nothing_is_certain() -> None:
    some = ArrivalRule([Undecided()], Verdict.ACCEPT)
    assert statuses(network.firewall(on(arrivals=[chain(some)]))) == [("firewall", OK)]


def test_a_packet_filter_that_could_not_be_seen() -> None:
    assert statuses(network.firewall(on(arrivals=None))) == [("firewall", WARNING)]


def test_a_packet_filter_that_does_not_let_other_hosts_through() -> None:
    gateway = with_settings(ipv4__ip_forward="1")
    found = list(network.firewall(on(gateway, forwarded=[chain()])))
    assert statuses(found) == [("firewall-forward", WARNING), ("firewall", OK)]
    assert "arrive by eth0 and would be forwarded to tun0" in found[0].finding
    assert "oifname tun0 accept" in str(found[0].remedy)
    assert statuses(network.firewall(on(forwarded=[chain()]))) == [("firewall", OK)]
    to_tun = ArrivalRule(
        (Read(8, Aspect.OUT_INTERFACE), Compare(8, b"tun0".ljust(16, b"\0"))), Verdict.ACCEPT
    )
    assert statuses(network.firewall(on(gateway, forwarded=[chain(to_tun)]))) == [("firewall", OK)]


def test_a_check_of_the_reverse_path() -> None:
    of = LAPTOP._replace(host_rules=HostRules(path_checks={6: "firewalld checks"}))
    (found,) = network.firewall(FACTS._replace(network=of))
    assert (found.id, found.status) == ("firewall-path", WARNING)
    assert "firewalld checks: so it drops IPv6 answers" in found.finding


# Other routes and names


def behind_a_vpn(kind: RouteKind = RouteKind.UNICAST, name: str = "wg0") -> object:
    return LAPTOP._replace(
        lookups=(TableLookup(4, 100, 100), *LAPTOP.lookups),
        routes=(*LAPTOP.routes, route(f"0.0.0.0/0 {name}", 100, kind)),
    )


def test_a_table_that_is_looked_up_first() -> None:
    (found,) = network.other_routes(FACTS._replace(network=behind_a_vpn()))  # type: ignore[arg-type]
    assert (found.id, found.status) == ("other-routes", WARNING)
    assert "table 100" in found.finding
    assert "0.0.0.0/0 by wg0" in found.finding


@pytest.mark.parametrize(
    "of",
    [LAPTOP, behind_a_vpn(RouteKind.THROW), behind_a_vpn(name="lo")],
    ids=["none", "throw", "lo"],
)
def test_tables_that_lead_nowhere_else_are_no_matter(of: object) -> None:
    found = network.other_routes(FACTS._replace(network=of))  # type: ignore[arg-type]
    assert statuses(found) == [("other-routes", OK)]


def test_with_rules_only_routes_that_they_are_about_count() -> None:
    of = behind_a_vpn()
    about = situation("198.51.100.0/24 home", of=of)
    facts = Facts(MACHINE, of, (WAY,), about)  # type: ignore[arg-type]
    (found,) = network.other_routes(facts)
    assert (found.status, "wg0" in found.finding) == (WARNING, True)
    none = facts._replace(situation=situation(of=of))
    assert statuses(network.other_routes(none)) == [("other-routes", OK)]


def test_resolvers() -> None:
    assert statuses(network.resolvers(Facts(MACHINE, LAPTOP._replace(dns_servers=())))) == [
        ("resolvers", WARNING)
    ]
    of = LAPTOP._replace(dns_servers=((4, 0xC6336435),))
    (alone,) = network.resolvers(Facts(MACHINE, of))
    assert (alone.status, alone.finding) == (OK, "198.51.100.53")
    captured = Facts(MACHINE, of, (), situation("198.51.100.0/24 office", of=of))
    (found,) = network.resolvers(captured)
    assert (found.status, "198.51.100.53 is a DNS server" in found.finding) == (WARNING, True)
    apart = Facts(MACHINE, of, (), situation("203.0.113.0/24 office", of=of))
    assert statuses(network.resolvers(apart)) == [("resolvers", OK)]


# What single commands need


@pytest.mark.parametrize("module", sorted(extras.modules()))
def test_extras(module: str) -> None:
    found = list(extras.extras(on(modules=extras.modules() - {module})))
    (absent,) = (each for each in found if each.status is not OK)
    assert absent.status is WARNING
    assert module in absent.finding
    assert "pip install" in str(absent.remedy)


def test_programs_are_never_needed() -> None:
    assert extras.programs(FACTS).remedy is None
    found = extras.programs(on(programs=frozenset({"nft"})))
    assert (found.status, "wireshark" in str(found.remedy)) == (OK, True)


# Remedies


NO_V6: Final = with_settings(
    ipv6__conf__default__disable_ipv6=None, ipv6__conf__all__disable_ipv6=None
)
V4_ALONE: Final = FACTS._replace(ways=(WAY._replace(sources={4: "192.0.2.2"}),))
STRICT: Final = on(with_settings(ipv4__conf__eth0__rp_filter="1"), has_read_only_settings=True)
PATHS: Final = LAPTOP._replace(host_rules=HostRules(path_checks={6: "firewalld checks"}))
RESOLVING: Final = LAPTOP._replace(dns_servers=((4, 0xC6336435),))


@pytest.mark.parametrize(
    ("facts", "id_", "remedy"),
    [
        (on(kernel=(5, 4)), "kernel", "install Linux 5.7 or newer"),
        (on(is_root=False), "rights", "sudo tunrouter run"),
        (on(lacking=frozenset({"CAP_NET_RAW"})), "rights", "CapabilityBoundingSet="),
        (on(tun=TunDevice.ABSENT), "tun", "modprobe tun"),
        (on(has_read_only_settings=True), "proc-sys", "mount it writable, or start the container"),
        (STRICT, "rp-filter", "--sysctl net.ipv4.conf.eth0.rp_filter=2"),
        (FACTS, "forwarding", "sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"),
        (NO_V6, "ipv6", "ipv6.disable=1"),
        (
            with_settings(ipv6__conf__all__disable_ipv6="1"),
            "ipv6",
            "net.ipv6.conf.all.disable_ipv6=0",
        ),
        (V4_ALONE, "ipv6", "connect to a network that has it"),
        (FACTS._replace(ways=()), "ways", "connect to a network"),
        (FACTS._replace(ways=(WAY._replace(mtu=576),)), "way-home", "ip link set eth0 mtu 1280"),
        (on(arrivals=None), "firewall", "sudo tunrouter selftest"),
        (FACTS._replace(network=PATHS), "firewall-path", "IPv6_rpfilter=loose"),
        (FACTS._replace(network=behind_a_vpn()), "other-routes", "`ip rule` shows it"),  # type: ignore[arg-type]
        (
            FACTS._replace(network=LAPTOP._replace(dns_servers=())),
            "resolvers",
            "name one there",
        ),
        (
            Facts(MACHINE, RESOLVING, (), situation("198.51.100.0/24 office", of=RESOLVING)),
            "resolvers",
            "bypass",
        ),
        (on(modules=frozenset()), "extra-web", "pip install 'tunrouter[web]'"),
        (on(programs=frozenset()), "programs", "nft shows the rules of the packet filter"),
    ],
)
def test_each_remedy_says_what_to_do(facts: Facts, id_: str, remedy: str) -> None:
    found = [each for each in checks.results(facts) if each.id == id_]
    assert any(remedy in str(each.remedy) for each in found), found


# Results


def test_the_worst_of_several() -> None:
    assert worst([]) is OK
    assert worst([OK, WARNING, OK]) is WARNING
    assert worst([WARNING, MISSING, OK]) is MISSING


def test_as_json() -> None:
    assert Result("tun", OK, "there").as_json() == {
        "id": "tun", "status": "ok", "finding": "there", "remedy": None,
    }  # fmt: skip
