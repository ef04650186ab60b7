"""The host's own rules for what leaves: each kind of statement is an obstacle to the direct path as
soon as it is laid and until it is removed, and ordinary firewalls are none. Likewise what may
refuse a packet keeps packets from being forwarded in the kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from router.engine.direct.obstacles import CHANGED
from router.platform.linux.host_rules.limits import MOST_RULES
from tests.e2e.may_forward import watching
from tests.e2e.netns import Namespace, unique_prefix
from tests.e2e.packet_filter import Follower, following

TRANSLATES = "translates addresses or ports of what leaves"
ALTERS = "changes or marks what leaves"
COPIES = "copies or redirects what leaves"
LIMITS = "counts what leaves in order to limit it"
INSPECTS = "looks at the length or content of what leaves"
LOGS = "logs what leaves"
COUNTS = "counts what leaves"
IPSEC = "an IPsec policy encrypts or refuses what leaves"

FILTER = "type filter hook output priority 0;"
POSTROUTING = "type nat hook postrouting priority 100;"
OUTPUT_NAT = "type nat hook output priority -100;"

STATEMENTS = [
    (POSTROUTING, 'oifname "eth0" masquerade', TRANSLATES),
    (POSTROUTING, "ip saddr 192.0.2.0/24 snat ip to 198.51.100.1", TRANSLATES),
    (OUTPUT_NAT, "tcp dport 80 dnat ip to 198.51.100.1", TRANSLATES),
    (OUTPUT_NAT, "tcp dport 80 redirect to :8080", TRANSLATES),
    (FILTER, 'oifname "eth*" ip dscp set cs1', ALTERS),
    (FILTER, "ip6 hoplimit set 3", ALTERS),
    (FILTER, "meta mark set 3", ALTERS),
    (FILTER, "meta priority set 3", ALTERS),
    (FILTER, "ct mark set 3", ALTERS),
    (FILTER, "tcp option maxseg size set 1200", ALTERS),
    (FILTER, "notrack", ALTERS),
    (FILTER, "limit rate 3/second accept", LIMITS),
    (FILTER, "quota over 3 mbytes drop", LIMITS),
    (FILTER, "ct count over 3 drop", LIMITS),
    (FILTER, "ct bytes > 100 drop", LIMITS),
    (FILTER, "numgen random mod 2 0 drop", LIMITS),
    (FILTER, "add @seen { ip daddr }", LIMITS),
    (FILTER, "meta length > 500 drop", INSPECTS),
    (FILTER, "ip length > 500 drop", INSPECTS),
    (FILTER, "@th,160,32 0x12345678 drop", INSPECTS),
    (FILTER, "log", LOGS),
    (FILTER, "oif != lo counter", COUNTS),
    (FILTER, 'oifname { "docker0", "eth0" } counter', COUNTS),
    (FILTER, 'oifname >= "docker0" counter', COUNTS),
    (FILTER, "oifgroup 0 counter", COUNTS),
    (FILTER, "oiftype ether counter", COUNTS),
    (FILTER, "ip saddr 192.0.2.1-192.0.2.9 counter", COUNTS),
    (FILTER, "ip saddr & 0.0.0.255 == 5 counter", COUNTS),
    (FILTER, "ip saddr . ip daddr { 192.0.2.5 . 198.51.100.1 } counter", COUNTS),
    (FILTER, "oif . meta l4proto { eth0 . tcp } counter", COUNTS),
    (FILTER, "counter name named", COUNTS),
    (FILTER, "counter name ip daddr map { 198.51.100.1 : named }", COUNTS),
    (FILTER, "quota name volume", LIMITS),
    (FILTER, "ct helper set ftp-port", ALTERS),
    (FILTER, "ip daddr @counting accept", COUNTS),
]

HARMLESS = [
    'oifname "lo" counter',
    'oifname != "eth0" counter',
    "ip saddr 10.0.0.0/8 counter",
    "ip saddr 172.16.0.0/12 meta mark set 3",
    "ip6 saddr fe80::/10 counter",
    "ip daddr 127.0.0.0/8 counter",
    "fib daddr type local counter",
    "ct state new tcp dport { 22, 80-90 } accept",
    "ct state invalid drop",
    'ct helper "ftp" accept',
    "tcp flags & (fin | syn) == 0 accept",
    "meta skuid 3 reject",
    "meta skgid 3 reject",
    "meta cgroup 3 reject",
    "meta mark 3 accept",
    "icmpv6 type nd-neighbor-solicit accept",
    "ip6 nexthdr 58 accept",
    "ip dscp cs1 accept",
    "rt mtu 1400 accept",
    "socket transparent 1 accept",
]

ELSEWHERE = """
table ip t {
    chain prerouting { type nat hook prerouting priority -100; tcp dport 80 dnat to 10.0.0.1; }
    chain input { type filter hook input priority 0; counter; meta mark set 3; }
    chain forward { type filter hook forward priority 0; counter; log; }
    chain unused { counter; }
}
table arp t {
    chain output { type filter hook output priority 0; counter; }
}
table netdev t {
    chain egress { type filter hook egress device lo priority 0; counter; }
}
"""

ESTABLISHED = """
table inet filter {
    set services { type inet_service; flags interval; elements = { 22, 80-90, 443 }; }
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname "lo" accept
        ip protocol icmp limit rate 10/second accept
        counter
    }
    chain output {
        type filter hook output priority filter; policy drop;
        ct state established,related accept
        ct state invalid drop
        oifname "lo" accept
        tcp dport @services accept
        udp dport { 53, 123 } accept
        meta l4proto ipv6-icmp accept
        reject with icmpx admin-prohibited
    }
}
"""

DOCKER = """
table ip nat {
    chain DOCKER {
        iifname "docker0" counter return
        iifname != "docker0" tcp dport 8080 counter dnat to 172.17.0.2:80
    }
    chain PREROUTING {
        type nat hook prerouting priority dstnat;
        fib daddr type local counter jump DOCKER
    }
    chain OUTPUT {
        type nat hook output priority -100;
        ip daddr != 127.0.0.0/8 fib daddr type local counter jump DOCKER
    }
    chain POSTROUTING {
        type nat hook postrouting priority srcnat;
        oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade
        oifname != "br-1" ip saddr 192.168.16.0/20 counter masquerade
        ip saddr 172.17.0.2 ip daddr 172.17.0.2 tcp dport 80 counter masquerade
    }
}
table ip filter {
    chain DOCKER { iifname != "docker0" oifname "docker0" tcp dport 80 counter accept; }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        oifname "docker0" counter jump DOCKER
    }
}
"""

FIREWALLD = """
table inet firewalld {
    chain filter_INPUT {
        type filter hook input priority filter + 10;
        ct state vmap { established : accept, related : accept, invalid : drop }
        iifname "lo" accept
        reject with icmpx admin-prohibited
    }
    chain filter_OUTPUT {
        type filter hook output priority filter + 10;
        ct state vmap { established : accept, related : accept }
        oifname "lo" accept
        ip6 daddr { ::/96, 2002:ac10::/28 } reject with icmpv6 addr-unreachable
        jump filter_OUTPUT_POLICIES_pre
        jump filter_OUTPUT_POLICIES_post
    }
    chain filter_OUTPUT_POLICIES_pre { jump filter_OUT_policy; }
    chain filter_OUTPUT_POLICIES_post { }
    chain filter_OUT_policy {
        meta l4proto vmap { tcp : jump filter_OUT_tcp, udp : jump filter_OUT_udp }
        continue
    }
    chain filter_OUT_tcp { tcp dport vmap { 25 : drop, 80 : accept }; return; }
    chain filter_OUT_udp { return; }
    chain nat_POSTROUTING {
        type nat hook postrouting priority srcnat + 10;
        jump nat_POSTROUTING_ZONES
    }
    chain nat_POSTROUTING_ZONES {
        oifname vmap { "docker0" : goto nat_POST_trusted, "eth0" : goto nat_POST_public }
        goto nat_POST_public
    }
    chain nat_POST_trusted { oifname != "lo" masquerade; }
    chain nat_POST_public { jump nat_POST_public_allow; }
    chain nat_POST_public_allow { }
}
"""

ESP = "tmpl src 192.0.2.5 dst 192.0.2.9 proto esp mode tunnel"


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    namespace = Namespace(f"{unique_prefix()}-host")
    namespace.create()
    namespace.ip("link add eth0 type veth peer name wlan0")
    try:
        yield namespace
    finally:
        namespace.delete()


@pytest.fixture(scope="module")
def shared(host: Namespace) -> Iterator[Follower]:
    with following(host) as follower:
        follower.wait_for(None)
        yield follower


@pytest.fixture
def follower(host: Namespace, shared: Follower) -> Iterator[Follower]:
    """Of a host without rules."""
    yield shared
    host.run("nft", "flush", "ruleset")
    host.run("ip", "xfrm", "policy", "flush")
    shared.wait_for_refusal(None)


def lay(host: Namespace, ruleset: str) -> None:
    """In the place of all rules."""
    host.run("nft", "-f", "-", stdin=f"flush ruleset\n{ruleset}")


def table(hook: str, *rules: str) -> str:
    lines = "\n".join(rules)
    return f"""
    table inet t {{
        counter named {{ }}
        quota volume {{ over 3 mbytes; }}
        ct helper ftp-port {{ type "ftp" protocol tcp; }}
        set seen {{ type ipv4_addr; flags dynamic; }}
        set counting {{ type ipv4_addr; counter; elements = {{ 198.51.100.1 }}; }}
        chain out {{
            {hook}
            {lines}
        }}
    }}
    """


@pytest.mark.parametrize(("hook", "rule", "effect"), STATEMENTS, ids=lambda each: str(each)[:30])
def test_a_statement_is_an_obstacle_until_it_is_removed(
    host: Namespace, follower: Follower, hook: str, rule: str, effect: str
) -> None:
    lay(host, table(hook, rule))
    follower.wait_for(f"nftables table inet t {effect} (chain out)")
    host.run("nft", "flush", "chain", "inet", "t", "out")
    follower.wait_for(None)


@pytest.mark.parametrize("rule", ["dup to 198.51.100.1", "dup to 198.51.100.1 device lo"])
def test_a_copy_is_an_obstacle(host: Namespace, follower: Follower, rule: str) -> None:
    lay(host, f"table ip t {{ chain out {{ {FILTER} {rule}; }}; }}")
    follower.wait_for(f"nftables table ip t {COPIES} (chain out)")


def test_an_obstacle_behind_jumps(host: Namespace, follower: Follower) -> None:
    chains = "table inet t { chain one { jump two; }; chain two { log; }; }"
    lay(host, chains + table(FILTER, "tcp dport vmap { 25 : drop, 80 : goto one }"))
    follower.wait_for(f"nftables table inet t {LOGS} (chain two)")
    host.run("nft", "flush", "chain", "inet", "t", "one")
    follower.wait_for(None)


def test_a_jump_for_another_interface(host: Namespace, follower: Follower) -> None:
    chains = "table inet t { chain one { log; }; map links { type ifname : verdict; }; }"
    lay(host, chains + table(FILTER, "oifname vmap @links", "limit rate 3/second accept"))
    follower.wait_for(f"nftables table inet t {LIMITS} (chain out)")
    lay(host, chains + table(FILTER, "oifname vmap @links"))
    follower.wait_for(None)
    host.run("nft", "add element inet t links { docker0 : jump one, eth0 : accept }")
    host.run("nft", "add element inet t links { eth1 : jump one }")
    host.run("nft", "delete element inet t links { eth0 }")
    host.run("nft", "add element inet t links { eth0 : jump one }")
    follower.wait_for(f"nftables table inet t {LOGS} (chain one)")
    host.run("nft", "delete element inet t links { eth0 }")
    follower.wait_for(None)


@pytest.mark.parametrize(
    "ruleset",
    [
        pytest.param(table(FILTER, *HARMLESS), id="harmless rules"),
        pytest.param(ELSEWHERE, id="other hooks"),
        pytest.param(ESTABLISHED, id="policy drop"),
        pytest.param(DOCKER, id="Docker"),
        pytest.param(FIREWALLD, id="firewalld"),
    ],
)
def test_rules_that_are_no_obstacle(host: Namespace, follower: Follower, ruleset: str) -> None:
    lay(host, table(FILTER, "log"))
    follower.wait_for(f"nftables table inet t {LOGS} (chain out)")
    lay(host, ruleset)
    follower.wait_for(None)


def test_a_zone_of_firewalld_that_masquerades(host: Namespace, follower: Follower) -> None:
    lay(host, FIREWALLD)
    rule = "add rule inet firewalld nat_POST_public_allow oifname != lo masquerade"
    host.run("nft", rule)
    follower.wait_for(f"nftables table inet firewalld {TRANSLATES} (chain nat_POST_public_allow)")


@pytest.mark.parametrize(
    "policy",
    [
        f"src 192.0.2.5/32 dst 198.51.100.0/24 dir out {ESP}",
        f"src 0.0.0.0/0 dst 198.51.100.0/24 dir out {ESP}",
        f"src ::/0 dst 2001:db8:9::/48 dir out {ESP}",
        "src 0.0.0.0/0 dst 198.51.100.0/24 dir out action block",
    ],
)
def test_an_outbound_ipsec_policy_is_an_obstacle_until_it_is_removed(
    host: Namespace, follower: Follower, policy: str
) -> None:
    host.run("ip", "xfrm", "policy", "add", *policy.split())
    follower.wait_for(IPSEC)
    host.run("ip", "xfrm", "policy", "flush")
    follower.wait_for(None)


@pytest.mark.parametrize(
    "policy",
    [
        f"src 10.0.0.0/8 dst 198.51.100.0/24 dir out {ESP}",
        f"src 0.0.0.0/0 dst 198.51.100.0/24 dir in {ESP}",
        f"src 0.0.0.0/0 dst 198.51.100.0/24 dir fwd {ESP}",
        f"dev lo src 0.0.0.0/0 dst 198.51.100.0/24 dir out {ESP}",
        "src 0.0.0.0/0 dst 198.51.100.0/24 dir out action allow",
    ],
)
def test_other_ipsec_policies_are_no_obstacle(
    host: Namespace, follower: Follower, policy: str
) -> None:
    host.run("ip", "xfrm", "policy", "add", *f"src ::/0 dst ::/0 dir out {ESP}".split())
    follower.wait_for(IPSEC)
    host.run("ip", "xfrm", "policy", "add", *policy.split())
    host.run("ip", "xfrm", "policy", "delete", *["src", "::/0", "dst", "::/0", "dir", "out"])
    follower.wait_for(None)


def test_too_many_rules_are_an_obstacle(host: Namespace, follower: Follower) -> None:
    chains = "table inet t { chain unreached { log; }; }"
    lay(host, chains + table(FILTER, *["ct state new accept"] * (MOST_RULES + 1)))
    follower.wait_for(f"the rules of nftables are more than {MOST_RULES} in a table")
    lay(host, chains + table(FILTER, *["ct state new accept"] * MOST_RULES))
    follower.wait_for(None)


def test_rules_that_may_not_be_read_are_an_obstacle(host: Namespace) -> None:
    with following(host, "setpriv", "--bounding-set", "-net_admin") as follower:
        why = "could not be read: Operation not permitted"
        follower.wait_for(f"the rules of nftables {why}")
        assert "cannot be followed: Operation not permitted" in follower.report()


REFUSES = "nftables table inet t refuses some of what leaves (chain out)"
LATER = "type filter hook postrouting priority 0;"
"""Where the kernel knows no `reject`."""
BLOCKED_SET = "table inet t { set blocked { type ipv4_addr; flags timeout; }; }"
REFUSING = [
    "policy drop;",
    "drop",
    "reject",
    'oifname "eth0" drop',
    'oifname "eth*" drop',
    'oifname != "wlan0" reject',
    "oif != lo drop",
    'oifname { "wlan0", "eth0" } drop',
    "oifgroup 0 drop",
    "oif . meta l4proto { eth0 . tcp } drop",
    "oif . meta l4proto vmap { eth0 . tcp : drop }",
    "ip saddr 192.0.2.0/24 drop",
    "ip daddr 198.51.100.1 drop",
    "ip daddr @blocked drop",
    "ct state invalid drop",
    "meta skuid 3 reject",
    "tcp dport vmap { 25 : drop, 80 : accept }",
    "tcp dport vmap { 20-25 : drop, 80-90 : accept }",
    'oifname vmap { "eth0" : drop }',
    "accept; drop",
]
LETTING_THROUGH = [
    "policy accept;",
    "accept",
    'oifname "wlan0" drop',
    'oifname "wlan*" reject',
    'oifname != "eth0" drop',
    "oif lo drop",
    "ip saddr 10.0.0.0/8 drop",
    "ip daddr 127.0.0.0/8 drop",
    "fib daddr type local reject",
    "ip daddr @blocked accept",
    "tcp dport vmap { 25 : accept, 80 : continue }",
    'oifname vmap { "wlan0" : drop, "eth0" : accept }',
]


@pytest.mark.parametrize(
    ("hook", "rule"),
    [(FILTER, rule) for rule in REFUSING]
    + [(LATER, rule) for rule in REFUSING if "reject" not in rule],
)
def test_what_may_refuse_keeps_from_being_forwarded(
    host: Namespace, follower: Follower, hook: str, rule: str
) -> None:
    lay(host, BLOCKED_SET + table(hook, rule))
    follower.wait_for_refusal(REFUSES)
    lay(host, BLOCKED_SET + table(hook))
    follower.wait_for_refusal(None)


@pytest.mark.parametrize("rule", LETTING_THROUGH)
def test_what_refuses_no_packet_by_the_interface(
    host: Namespace, follower: Follower, rule: str
) -> None:
    lay(host, table(FILTER, "reject"))
    follower.wait_for_refusal(REFUSES)
    lay(host, BLOCKED_SET + table(FILTER, rule))
    follower.wait_for_refusal(None)


def test_a_verdict_that_is_added_to_a_map(host: Namespace, follower: Follower) -> None:
    verdicts = "table inet t { map verdicts { type ifname : verdict; }; }"
    lay(host, verdicts + table(FILTER, "oifname vmap @verdicts", "ip saddr 10.0.0.1 drop"))
    host.run("nft", "add element inet t verdicts { wlan0 : drop, eth0 : drop }")
    follower.wait_for_refusal(REFUSES)
    host.run("nft", "delete element inet t verdicts { eth0 }")
    follower.wait_for_refusal(None)


@pytest.mark.parametrize(
    ("ruleset", "chain"),
    [
        pytest.param(ESTABLISHED, "inet filter refuses {} (chain output)", id="policy drop"),
        pytest.param(FIREWALLD, "inet firewalld refuses {} (chain filter_OUT_tcp)", id="firewalld"),
    ],
)
def test_firewalls_that_refuse(
    host: Namespace, follower: Follower, ruleset: str, chain: str
) -> None:
    lay(host, ruleset)
    follower.wait_for_refusal(f"nftables table {chain.format('some of what leaves')}")


def test_docker_refuses_nothing_by_the_interface(host: Namespace, follower: Follower) -> None:
    """Its FORWARD drops, and packets of this machine do not pass that."""
    lay(host, table(FILTER, "reject"))
    follower.wait_for_refusal(REFUSES)
    lay(host, DOCKER)
    follower.wait_for_refusal(None)


def test_an_egress_hook(host: Namespace, follower: Follower) -> None:
    """Whatever its rules; other hooks and interfaces are none."""
    chain = "chain out { type filter hook egress device eth0 priority 0; }"
    others = """
        chain in { type filter hook ingress device eth0 priority 0; drop; }
        chain loop { type filter hook egress device lo priority 0; drop; }
    """
    lay(host, f"table netdev t {{ {others} {chain}; }}")
    seen = "nftables table netdev t sees each packet that leaves by the interface (chain out)"
    follower.wait_for_refusal(seen)
    host.run("nft", "delete", "chain", "netdev", "t", "out")
    follower.wait_for_refusal(None)
    both = "chain out { type filter hook egress devices = { lo, eth0 } priority 0; }"
    lay(host, f"table netdev t {{ {both}; }}")
    follower.wait_for_refusal(seen)


@pytest.mark.parametrize("program", ["iptables-nft", "ip6tables-nft"])
def test_rules_of_iptables(host: Namespace, follower: Follower, program: str) -> None:
    """Each counts, so one that a packet by eth0 may match is an obstacle, too."""
    family = "ip" if program == "iptables-nft" else "ip6"
    where = f"nftables table {family} filter"
    host.run(program, "-P", "OUTPUT", "DROP")
    refuses = f"{where} refuses some of what leaves (chain OUTPUT)"
    follower.wait_for_refusal(refuses)
    host.run(program, "-P", "OUTPUT", "ACCEPT")
    follower.wait_for_refusal(None)
    host.run(program, "-A", "OUTPUT", "-p", "tcp", "-j", "REJECT")
    follower.wait_for_refusal(refuses, obstacle=f"{where} {COUNTS} (chain OUTPUT)")
    host.run(program, "-R", "OUTPUT", "1", "-o", "eth0", "-j", "DROP")
    follower.wait_for_refusal(refuses, obstacle=f"{where} {COUNTS} (chain OUTPUT)")
    host.run(program, "-R", "OUTPUT", "1", "-o", "wlan0", "-j", "DROP")
    follower.wait_for_refusal(None)


# From a report of a change until the rules are judged


UNREPORTED = "iptables-legacy can change without a report"
NAMES = {
    "iptables-legacy": "/proc/net/ip_tables_names",
    "ip6tables-legacy": "/proc/net/ip6_tables_names",
}


@pytest.fixture
def fresh() -> Iterator[Namespace]:
    """A host with an eth0. Tables of iptables-legacy last as long as their namespace."""
    namespace = Namespace(f"{unique_prefix()}-fresh")
    namespace.create()
    try:
        namespace.ip(
            "link add eth0 type veth peer name wlan0",
            "addr add 192.0.2.5/24 dev eth0",
            "addr add 2001:db8::5/64 dev eth0 nodad",
        )
        yield namespace
    finally:
        namespace.delete()


def test_nothing_is_forwarded_from_a_report_on(fresh: Namespace) -> None:
    with watching(fresh) as watched:
        watched.wait_for(None)
        lay(fresh, table(FILTER, "reject"))
        watched.wait_for(None, CHANGED, REFUSES)
        fresh.run("nft", "flush", "chain", "inet", "t", "out")
        watched.wait_for(None, CHANGED, REFUSES, CHANGED, None)


@pytest.mark.parametrize("program", NAMES)
def test_tables_of_iptables_legacy_are_found_while_something_is_forwarded(
    fresh: Namespace, program: str
) -> None:
    """A kernel without them lists none."""
    with watching(fresh) as watched:
        watched.wait_for(None)
        fresh.run(program, "-n", "-L", check=False)
        has_tables = fresh.run("cat", NAMES[program], check=False).stdout
        found = [None, CHANGED, UNREPORTED] if has_tables else [None]
        watched.wait_for(*found)
        lay(fresh, table(FILTER, "reject"))
        watched.wait_for(*found, CHANGED, REFUSES)
