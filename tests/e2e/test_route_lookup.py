"""The kernel's own route lookup, read by netlink, says what `ip route get` does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.netns import Namespace, unique_prefix

ADVMSS, INITCWND, CC_ALGO = "8", "11", "16"
UNICAST, LOCAL = 1, 2
MAIN, OTHER = 254, 100


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    namespace = Namespace(f"{unique_prefix()}-host")
    namespace.create()
    try:
        _arrange(namespace)
        yield namespace
    finally:
        namespace.delete()


def _arrange(namespace: Namespace) -> None:
    namespace.ip(
        "link add e0 type veth peer name p0",
        "link add e1 type veth peer name p1",
        *(f"link set {name} up" for name in ("e0", "p0", "e1", "p1")),
        "addr add 192.0.2.2/24 dev e0",
        "addr add 192.0.2.3/24 dev e0",
        "addr add 10.9.0.1/24 dev e1",
        "route add default via 192.0.2.1 advmss 1000 initcwnd 20 mtu 1400",
        "route add 198.51.100.0/24 via 192.0.2.1 src 192.0.2.3 congctl cubic",
        "route add 203.0.113.0/24 nexthop via 192.0.2.1 nexthop via 192.0.2.4",
        "route add 198.18.0.0/24 via inet6 fe80::1 dev e0",
        "route add prohibit 10.66.0.0/16",
        "route add default via 10.9.0.2 table 100",
        "rule add from 10.9.0.1 table 100",
        "addr add 2001:db8:2::2/64 dev e0 nodad",
        "addr add fd09::1/64 dev e1 nodad",
        "route add default via 2001:db8:2::1 advmss 1200",
    )


def ask(
    host: Namespace,
    to: str,
    by: str | None = None,
    source: str | None = None,
    matched: bool = False,
) -> dict[str, Any] | None:
    request = json.dumps([(to, by, source, matched)])
    [answer] = json.loads(
        host.run(sys.executable, "-m", "tests.e2e.route_lookup", stdin=request).stdout
    )
    return answer  # type: ignore[no-any-return]


def asked(
    host: Namespace,
    to: str,
    by: str | None = None,
    source: str | None = None,
    matched: bool = False,
) -> dict[str, Any]:
    answer = ask(host, to, by, source, matched)
    assert answer is not None
    return answer


def test_what_a_packet_gets(host: Namespace) -> None:
    answer = asked(host, "203.0.113.250")
    assert (answer["kind"], answer["table"]) == (UNICAST, MAIN)
    assert answer["interface"] == "e0"
    assert answer["gateway"] in {"192.0.2.1", "192.0.2.4"}
    assert answer["source"] == "192.0.2.2"
    answer = asked(host, "1.1.1.1")
    assert (answer["gateway"], answer["source"], answer["mtu"]) == ("192.0.2.1", "192.0.2.2", 1400)
    assert answer["metrics"] == {
        ADVMSS: (1000).to_bytes(4, sys.byteorder).hex(),
        INITCWND: (20).to_bytes(4, sys.byteorder).hex(),
    }
    assert asked(host, "192.0.2.3")["kind"] == LOCAL


def test_what_a_packet_gets_by_ipv6(host: Namespace) -> None:
    answer = asked(host, "2001:db8:5::1", "e0")
    assert (answer["kind"], answer["interface"]) == (UNICAST, "e0")
    assert (answer["gateway"], answer["source"]) == ("2001:db8:2::1", "2001:db8:2::2")
    assert answer["metrics"] == {ADVMSS: (1200).to_bytes(4, sys.byteorder).hex()}
    assert asked(host, "fd09::7")["source"] == "fd09::1"


def test_the_source_is_that_of_the_route(host: Namespace) -> None:
    answer = asked(host, "198.51.100.1", "e0")
    assert answer["source"] == "192.0.2.3"
    assert answer["metrics"] == {CC_ALGO: b"cubic\0".hex()}


def test_a_gateway_of_the_other_family(host: Namespace) -> None:
    assert asked(host, "198.18.0.9")["gateway"] == "fe80::1"


def test_an_interface_without_a_route(host: Namespace) -> None:
    answer = asked(host, "1.1.1.1", "e1")
    assert (answer["table"], answer["gateway"], answer["source"]) == (0, None, "10.9.0.1")
    assert ask(host, "1.1.1.1", "e1", matched=True) is None
    assert ask(host, "2001:db8:5::1", "e1") is None
    assert ask(host, "2001:db8:5::1", "e1", matched=True) is None


def test_the_entry_of_the_table(host: Namespace) -> None:
    entry = asked(host, "203.0.113.250", matched=True)
    assert (entry["length"], entry["multipath"], entry["interface"]) == (24, True, None)
    entry = asked(host, "198.51.100.1", "e0", matched=True)
    assert (entry["length"], entry["multipath"], entry["source"]) == (24, False, "192.0.2.3")
    assert asked(host, "1.1.1.1", "e0", matched=True)["source"] is None


def test_a_rule_for_the_source(host: Namespace) -> None:
    answer = asked(host, "1.1.1.1", source="10.9.0.1")
    assert (answer["table"], answer["interface"], answer["gateway"]) == (OTHER, "e1", "10.9.0.2")
    answer = asked(host, "1.1.1.1", "e1", "10.9.0.1")
    assert (answer["table"], answer["gateway"], answer["source"]) == (OTHER, "10.9.0.2", None)


def test_a_refusal_is_no_route(host: Namespace) -> None:
    assert ask(host, "10.66.0.1") is None
    assert ask(host, "10.66.0.1", matched=True) is None


def test_a_source_of_another_machine_has_no_route(host: Namespace) -> None:
    assert ask(host, "1.1.1.1", source="192.0.2.77") is None
