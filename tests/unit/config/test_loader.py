"""Valid rules, and the Config read from them."""

from __future__ import annotations

import os
from ipaddress import ip_interface
from pathlib import Path

import pytest

from router.config.loader import Loaded, RulesFileUnreadable, load
from router.config.model import Config, Place, PolicyType

FULL = """\
version: 1
tun:                                    # all optional
  name: tun11
  address: [192.168.7.1/30, "fd77::1/126"]
  mtu: 1500
policies:
  home:   {type: direct, interface: en0}
  office: {type: vpn, interface: utun3, on_down: home}
rules:
  - {cidr: 180.101.49.11, policy: reply}
  - {cidr: [10.0.0.0/8, "fd00:10::/32"], policy: office}
  - {file: lists/lan.txt, policy: bypass}
  - cidr: 203.0.113.0/24
    protocol: tcp
    port: [443, 8000-8100]              # the web
    policy: home
default: drop
"""


@pytest.fixture(params=[False, True], ids=["libyaml", "pure-python"])
def pure_python(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def loaded(directory: Path, text: str | bytes, pure_python: bool = False) -> Loaded:
    path = directory / "rules.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, pure_python=pure_python)


def good(directory: Path, text: str | bytes, pure_python: bool = False) -> Config:
    result = loaded(directory, text, pure_python)
    assert result.problems == []
    assert result.config is not None
    return result.config


def codes(result: Loaded) -> list[str]:
    return [problem.code for problem in result.problems]


def test_a_full_file(tmp_path: Path, pure_python: bool) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/lan.txt").write_text("192.168.0.0/16\n")
    config = good(tmp_path, FULL, pure_python)
    file = str(tmp_path / "rules.yaml")
    assert config.file == file
    assert config.tun.name == "tun11"
    assert config.tun.mtu == 1500
    assert config.tun.place == Place(file, 2, 1, 3)
    assert config.tun.addresses == (ip_interface("192.168.7.1/30"), ip_interface("fd77::1/126"))
    assert config.tun.address_places[1] == Place(file, 4, 29, 13)
    assert list(config.policies) == ["reply", "drop", "reject", "bypass", "home", "office"]
    home, office = config.policies["home"], config.policies["office"]
    assert (home.type, home.interface, home.on_down) == (PolicyType.DIRECT, "en0", "reject")
    assert (office.type, office.interface, office.on_down) == (PolicyType.VPN, "utun3", "home")
    assert office.place == Place(file, 8, 3, 6)
    assert office.interface_place == Place(file, 8, 34, 5)
    assert office.on_down_place == Place(file, 8, 50, 4)
    assert (config.default, config.default_place) == ("drop", Place(file, 17, 10, 4))
    reply, to_office, lan, web = config.rules
    assert [rule.index for rule in config.rules] == [1, 2, 3, 4]
    assert reply.text == "{cidr: 180.101.49.11, policy: reply}"
    assert web.text == (
        "{cidr: 203.0.113.0/24, protocol: tcp, port: [443, 8000-8100], policy: home}"
    )
    assert [(p.version, p.length) for p in to_office.prefixes] == [(4, 8), (6, 32)]
    assert to_office.prefixes[1] == (6, 0xFD000010 << 96, 32, Place(file, 11, 25, 14))
    assert (to_office.policy, to_office.policy_place) == ("office", Place(file, 11, 50, 6))
    assert list(lan.packed(4)) == [0xC0A80000 << 8 | 16]
    assert web.protocols == {"tcp"}
    assert web.ports == ((443, 443), (8000, 8100))
    assert web.place == Place(file, 13, 5, len("cidr: 203.0.113.0/24"))


def test_defaults(tmp_path: Path) -> None:
    config = good(tmp_path, "version: 1\n")
    assert config.tun.name is None
    assert config.tun.mtu == 1500
    assert config.tun.addresses == (ip_interface("192.168.7.1/30"), ip_interface("fd77::1/126"))
    assert config.default == "bypass"
    assert config.default_place is None
    assert config.rules == ()


def test_sections_whose_content_is_commented_out(tmp_path: Path) -> None:
    config = good(tmp_path, "version: 1\ntun:\n#  mtu: 1400\npolicies:\nrules:\n")
    assert config == good(tmp_path, "version: 1\n")


def test_yaml_1_1_changes_no_value(tmp_path: Path, pure_python: bool) -> None:
    """`no` and `on` are names, and eight groups of digits are no number to base 60."""
    text = """\
version: 1
policies:
  no: {type: direct, interface: on}
  on: {type: direct, interface: 1e3}
rules:
  - {cidr: 1:2:3:4:5:6:7:8, policy: no}
  - {cidr: fd00::1:2, policy: on, protocol: tcp, port: 22-80}
"""
    config = good(tmp_path, text, pure_python)
    assert config.policies["no"].interface == "on"
    assert config.policies["on"].interface == "1e3"
    assert config.rules[0].prefixes[0].first == 0x00010002000300040005000600070008
    assert config.rules[1].ports == ((22, 80),)


def test_bom_crlf_and_old_mac_line_ends(tmp_path: Path, pure_python: bool) -> None:
    text = "version: 1\nrules:\n  - {cidr: 10.0.0.0/8, policy: drop}\n"
    plain = good(tmp_path, text, pure_python)
    assert good(tmp_path, b"\xef\xbb\xbf" + text.encode(), pure_python) == plain
    assert good(tmp_path, text.replace("\n", "\r\n"), pure_python) == plain
    assert good(tmp_path, text.replace("\n", "\r"), pure_python) == plain


def test_anchors_and_aliases(tmp_path: Path, pure_python: bool) -> None:
    text = """\
version: 1
rules:
  - {cidr: &lan [10.0.0.0/8, 10.300.0.0/16], policy: drop, protocol: udp}
  - {cidr: *lan, policy: drop, protocol: tcp}
"""
    result = loaded(tmp_path, text, pure_python)
    assert codes(result) == ["bad-cidr"], "used twice, reported once"
    config = good(tmp_path, text.replace("300", "3"), pure_python)
    assert config.rules[1].prefixes == config.rules[0].prefixes


def test_aliases_cannot_fill_the_memory(tmp_path: Path, pure_python: bool) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, before in zip("bcdefgh", "abcdefg", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    result = loaded(tmp_path, "version: 1\n" + bomb, pure_python)
    assert codes(result) == ["too-many-values"]
    assert "aliases" in result.problems[0].message


def test_an_alias_within_its_own_anchor(tmp_path: Path, pure_python: bool) -> None:
    result = loaded(tmp_path, "version: 1\nrules: &all [*all]\n", pure_python)
    assert codes(result) == ["yaml-syntax"]


def test_unbounded_nesting(tmp_path: Path, pure_python: bool) -> None:
    result = loaded(tmp_path, "version: 1\nrules: " + "[" * 100_000, pure_python)
    assert codes(result) == ["yaml-syntax"]
    assert "nested" in result.problems[0].message


def test_ports_are_joined_and_mean_tcp_and_udp(tmp_path: Path) -> None:
    text = "version: 1\nrules:\n  - {cidr: 10.0.0.0/8, policy: drop, port: [90-99, 80, 81-89, 7]}\n"
    (rule,) = good(tmp_path, text).rules
    assert rule.ports == ((7, 7), (80, 99))
    assert rule.protocols == {"tcp", "udp"}


def test_long_rules_are_shown_shortened(tmp_path: Path) -> None:
    networks = ", ".join(f"10.{i}.0.0/16" for i in range(100))
    text = f"version: 1\nrules:\n  - {{cidr: [{networks}], policy: drop}}\n"
    (rule,) = good(tmp_path, text).rules
    assert rule.text.startswith("{cidr: [10.0.0.0/16, ")
    assert rule.text.endswith("…")
    assert len(rule.text) == 200


def test_a_hundred_rules_that_name_one_unknown_policy_are_all_reported(tmp_path: Path) -> None:
    rules = "".join(f"  - {{cidr: 10.{i}.0.0/16, policy: ofice}}\n" for i in range(100))
    result = loaded(tmp_path, "version: 1\nrules:\n" + rules)
    assert [p.place and p.place.line for p in result.problems] == list(range(3, 103))


def test_problems_are_sorted_by_place_the_rules_file_first(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("bad\n")
    text = "version: 1\nrules:\n  - {file: a.txt, policy: x}\n  - {cidr: 1.2, policy: drop}\n"
    result = loaded(tmp_path, text + "default: y\n")
    assert codes(result) == ["unknown-policy", "bad-cidr", "unknown-policy", "bad-list-line"]


def test_a_file_of_zeros_is_refused_with_a_short_message(tmp_path: Path) -> None:
    result = loaded(tmp_path, b"version: 1\n\n" + b"\0" * 100_000)
    assert set(codes(result)) == {"control-character"}
    assert len(result.problems) == 100
    place = result.problems[6].place
    assert place is not None
    assert (place.line, place.column) == (3, 7)


def test_a_long_chain_of_on_down_ends_in_a_loop(tmp_path: Path) -> None:
    chain = "".join(
        f"  p{i}: {{type: vpn, interface: wg{i}, on_down: p{i + 1}}}\n" for i in range(3000)
    )
    text = "version: 1\ndefault: p0\npolicies:\n" + chain.replace("p3000", "p2998")
    (problem,) = loaded(tmp_path, text).problems
    assert problem.code == "policy-loop"
    assert problem.message.endswith("p2998 → p2999 → p2998")


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    for path, expected in [
        (tmp_path / "absent.yaml", "does not exist"),
        (tmp_path, "is a directory"),
        (Path("/dev/null"), "is not a regular file but a device"),
        (Path("/dev/null/rules.yaml"), "can't be read"),
        (Path("a\0b"), "is not a path"),
    ]:
        with pytest.raises(RulesFileUnreadable) as caught:
            load(path)
        (problem,) = caught.value.problems
        assert expected in problem.message
        assert problem.help
        assert problem.code == "unreadable-rules-file"


def test_a_rules_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("version: 1\n")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything: have the refusal simulated

        def refuse(path: Path, _flags: int) -> int:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RulesFileUnreadable, match="may not be read"):
        load(path)


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"version: 1\ndefault: drop\n")
        os.close(writing)
        result = load(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
    assert result.config is not None
    assert result.config.default == "drop"
