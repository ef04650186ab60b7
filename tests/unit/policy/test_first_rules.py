"""The first rules of a machine, from its network as plain data: the text, what `check` says of it,
and of it with every comment before a rule taken away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from router.config.environment_proxy import NamedProxy, OtherProxy
from router.config.loader import load
from router.config.model import Config
from router.config.problems import Severity
from router.policy.first_rules import MOST_SHOWN, first_rules
from router.policy.network import Network
from tests.unit.check.networks import interface, network
from tests.unit.darwin.macbook import macbook

LO = interface("lo", 1, "127.0.0.1/8", "::1/128")
ETH0 = interface("eth0", 2, "192.0.2.2/24", "2001:db8:2::2/64")
WLAN0 = interface("wlan0", 3, "192.168.1.5/24")
WG0 = interface("wg0", 4, "10.8.0.2/24", "fd08::2/64", tunnel=True)
TUN0 = interface("tun0", 5, "10.9.0.2/32", tunnel=True)
DEFAULT = ("0.0.0.0/0 eth0 192.0.2.1", "::/0 eth0 2001:db8:2::1")


def uncommented(text: str) -> str:
    return re.sub(r"^  # (?=- \{)", "  ", text, flags=re.MULTILINE)


def checked(directory: Path, text: str) -> Config:
    """Loaded without an error, and as it stands without a warning."""
    config: Config | None = None
    for each, severities in ((text, Severity), (uncommented(text), (Severity.ERROR,))):
        path = directory / "rules.yaml"
        path.write_text(each, encoding="utf-8")
        loaded = load(path)
        found = [problem.as_line() for problem in loaded.problems if problem.severity in severities]
        assert not [line for line in found if "password-unknown" not in line], each
        config = loaded.config
    assert config is not None
    return config


def policies(config: Config) -> dict[str, tuple[str, str | None]]:
    """By name, type and interface of those that the file defines."""
    return {
        name: (policy.type.value, policy.interface)
        for name, policy in config.policies.items()
        if policy.place is not None
    }


def rules(config: Config) -> list[str]:
    return [rule.text for rule in config.rules]


def test_a_network_and_nothing_else(tmp_path: Path) -> None:
    config = checked(tmp_path, first_rules(network([LO, ETH0], DEFAULT), None))
    assert policies(config) == {"home": ("direct", "default")}
    assert rules(config) == ["{cidr: 203.0.113.0/24, policy: home}"]
    assert config.default == "bypass"


def test_vpns_with_their_routes(tmp_path: Path) -> None:
    routes = (*DEFAULT, "198.18.0.0/24 wg0", "198.18.1.0/24 wg0", "2001:db8:18::/64 wg0")
    text = first_rules(network([LO, ETH0, WG0, TUN0], [*routes, "fe80::/64 wg0"]), None)
    config = checked(tmp_path, text)
    assert policies(config) == {
        "home": ("direct", "default"),
        "wg0": ("vpn", "wg0"),
        "tun0": ("vpn", "tun0"),
    }
    assert config.policies["wg0"].on_down == "reject"
    assert rules(config)[1:] == [
        '{cidr: [10.8.0.0/24, 198.18.0.0/23, "2001:db8:18::/64", "fd08::/64"], policy: wg0}',
        "{cidr: 10.9.0.2/32, policy: tun0}",
    ]
    assert "wg0 from 10.8.0.2 and fd08::2" in text


@pytest.mark.parametrize(
    "everything", [("0.0.0.0/0 tun0",), ("0.0.0.0/1 tun0", "128.0.0.0/1 tun0")]
)
def test_a_vpn_with_the_default_route(tmp_path: Path, everything: tuple[str, ...]) -> None:
    found = network([LO, ETH0, TUN0], [DEFAULT[0], *everything])
    found = found._replace(default_holders={4: "tun0", 6: None})
    config = checked(tmp_path, first_rules(found, None))
    assert policies(config) == {"home": ("direct", "eth0"), "tun0": ("vpn", "tun0")}
    assert "{cidr: 0.0.0.0/0, policy: tun0}" in rules(config)


def test_a_second_uplink(tmp_path: Path) -> None:
    second = "0.0.0.0/0 wlan0 192.168.1.1"
    found = network([LO, ETH0, WLAN0], DEFAULT)
    found = found._replace(routes=(*found.routes, *network([], [second]).routes))
    config = checked(tmp_path, first_rules(found, None))
    assert policies(config) == {"home": ("direct", "default"), "wlan0": ("direct", "wlan0")}


def test_a_local_network_is_no_way_out(tmp_path: Path) -> None:
    config = checked(tmp_path, first_rules(network([LO, ETH0, WLAN0], DEFAULT), None))
    assert policies(config) == {"home": ("direct", "default")}


def test_no_network_at_all(tmp_path: Path) -> None:
    config = checked(tmp_path, first_rules(Network({"lo": LO}), None))
    assert policies(config) == {"home": ("direct", "default")}


def test_running_routers_are_no_vpn(tmp_path: Path) -> None:
    found = network([LO, ETH0, TUN0], DEFAULT)._replace(own_tuns=frozenset({"tun0"}))
    assert "tun0" not in first_rules(found, None)


def test_a_vpn_that_is_down_is_left_out(tmp_path: Path) -> None:
    down = WG0._replace(up=False)
    assert "wg0" not in first_rules(network([LO, ETH0, down], DEFAULT), None)


def test_a_mac(tmp_path: Path) -> None:
    config = checked(tmp_path, first_rules(macbook(), None))
    assert policies(config) == {"home": ("direct", "default"), "utun3": ("vpn", "utun3")}
    assert rules(config)[-1] == '{cidr: [10.0.0.0/8, "fd08::/32"], policy: utun3}'


def test_names_that_policies_cannot_have(tmp_path: Path) -> None:
    odd = [
        interface(name, number, f"10.{number}.0.1/24", tunnel=True)
        for number, name in enumerate(("home", "drop", "été", '"#', "Home"), 10)
    ]
    config = checked(tmp_path, first_rules(network([LO, ETH0, *odd], DEFAULT), None))
    assert {interface for _, interface in policies(config).values()} == {
        *("default", "home", "drop", "été", '"#', "Home"),
    }


def test_many_routes_are_an_example(tmp_path: Path) -> None:
    routes = [f"10.{number}.0.0/24 tun0" for number in range(200)]
    text = first_rules(network([LO, ETH0, TUN0], [*DEFAULT, *routes]), None)
    config = checked(tmp_path, text)
    assert len(config.rules) == 1 + MOST_SHOWN // 4
    assert "# and 136 more, as the system's table of routes has them" in text


def test_a_proxy(tmp_path: Path) -> None:
    named = NamedProxy("ALL_PROXY", "2001:db8::1", 1080, 'me "#')
    text = first_rules(network([LO, ETH0], DEFAULT), named)
    config = checked(tmp_path, text)
    proxy = config.policies["proxy"].proxy
    assert proxy is not None
    assert str(proxy) == "[2001:db8::1]:1080"
    assert proxy.credentials is not None
    assert proxy.credentials.username == b'me "#'
    assert "password_env: PROXY_PASSWORD" in text


def test_a_proxy_of_another_kind(tmp_path: Path) -> None:
    other = OtherProxy("http_proxy", "it has the scheme 'http', and policies know socks5 alone")
    text = first_rules(network([LO, ETH0], DEFAULT), other)
    assert policies(checked(tmp_path, text)) == {"home": ("direct", "default")}
    assert "# http_proxy names a proxy: it has the scheme 'http'" in text
