"""Passwords of proxies: where they come from, and that nothing shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.config.loader import Loaded, load
from router.config.model import Proxy
from router.wire.socks5 import Credentials


def loaded(directory: Path, keys: str) -> Loaded:
    file = directory / "rules.yaml"
    file.write_text(
        f'version: 1\ndefault: p\npolicies: {{p: {{type: socks5, server: "[::1]:1080", {keys}}}}}\n'
    )
    return load(file)


def proxy(found: Loaded) -> Proxy:
    assert found.config is not None, found.problems
    proxy = found.config.policies["p"].proxy
    assert proxy is not None
    return proxy


def test_a_password_file_is_its_first_line(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes("pässword \r\nmore".encode())
    secret.chmod(0o600)
    found = loaded(tmp_path, "username: zoë, password_file: secret")
    assert not found.problems
    assert proxy(found).credentials == Credentials("zoë".encode(), "pässword ".encode())
    assert "ssword " not in repr(found.config)


def test_a_password_file_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    secret.chmod(0o644)
    (problem,) = loaded(tmp_path, "username: me, password_file: secret").problems
    assert problem.code == "password-file-readable"
    assert "hidden" not in str(problem)


def test_a_password_of_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNROUTER_TEST_PASSWORD", "x" * 255)
    keys = "username: me, password_env: TUNROUTER_TEST_PASSWORD"
    found = loaded(tmp_path, keys)
    assert proxy(found).credentials == Credentials(b"me", b"x" * 255)
    monkeypatch.setenv("TUNROUTER_TEST_PASSWORD", "y" * 256)
    (problem,) = loaded(tmp_path, keys).problems
    assert problem.code == "bad-credentials"
    assert "yy" not in str(problem)


def test_what_is_left_out(tmp_path: Path) -> None:
    assert proxy(loaded(tmp_path, "udp: auto")) == Proxy("::1", 1080)
    assert str(proxy(loaded(tmp_path, "udp: auto"))) == "[::1]:1080"


@pytest.mark.parametrize(
    "line",
    [
        "p: {type: socks5, server: '[::1]:1080', username: me, password: hidden}",
        "p: {type: sock5, server: '[::1]:1080', username: me, password: hidden}",
        "p: {tpye: socks5, server: '[::1]:1080', username: me, password: hidden}",
        "p: {server: '[::1]:1080', username: me, password: hidden}",
        "p: {type: direct, interface: eth0, password: hidden}",
        "p q: {type: socks5, server: '[::1]:1080', username: me, password: hidden}",
        'p: {type: socks5, server: "[::1]:1080", "password" : hidden, "password": hidden}',
        "p: {type: socks5, server: '[::1]:1080', password: hidden, udp: x: y}",
        "p: {type: direct, interface: eth0}\n  p: {type: socks5, password: hidden}",
    ],
)
def test_no_problem_shows_a_password_that_stands_in_the_rules(tmp_path: Path, line: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(f"version: 1\npolicies:\n  {line}\n")
    found = load(file)
    assert found.problems
    assert not any("hidden" in each.as_text(found.sources) for each in found.problems)
    assert not any("hidden" in each.as_line() for each in found.problems)


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("type: sock5, ", ["unknown-policy-type"]),
        ("tpye: socks5, ", ["unknown-key"]),
        ("", ["missing-key"]),
        ("type: [socks5], ", ["wrong-type"]),
    ],
)
def test_a_mistyped_type_is_one_problem(tmp_path: Path, kind: str, codes: list[str]) -> None:
    file = tmp_path / "rules.yaml"
    policy = f"{{{kind}server: '[::1]:1080', via: q, udp: reject}}"
    others = "q: {type: direct, interface: eth0}"
    file.write_text(f"version: 1\ndefault: p\npolicies:\n  p: {policy}\n  {others}\n")
    problems = load(file).problems
    assert [each.code for each in problems] == codes
