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
