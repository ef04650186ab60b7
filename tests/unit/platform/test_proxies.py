"""Whether proxies can be reached, by the way that their policies name: at the loopback device."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from threading import Thread

import pytest

from router.config.loader import load
from router.config.model import Config
from router.platform.proxies import proxy_faults
from router.policy.interfaces import UsableInterfaces
from router.policy.network import Interface

LOOPBACK = Interface("lo", 1, True, 65536, (IPv4Interface("127.0.0.1/8"),))
BY_LOOPBACK: dict[str, UsableInterfaces] = {"home": {4: LOOPBACK}}
UNREACHED = "'first', by which it is reached, is not"
SUCCESS, NOT_THERE = b"\x05\x00\x00\x01" + bytes(6), b"\x05\x04\x00\x01" + bytes(6)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(10)
        yield sock


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that nobody listens at, and nobody else will."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def config(tmp_path: Path, port: int, *, first: int = 1) -> Config:
    """`direct` and `behind` are at a port; the latter behind a proxy at the port `first`."""
    file = tmp_path / "rules.yaml"
    file.write_text(
        f"""\
version: 1
policies:
  home: {{type: direct, interface: lo}}
  first: {{type: socks5, server: "127.0.0.1:{first}", via: home}}
  behind: {{type: socks5, server: "127.0.0.1:{port}", via: first, icmp: drop}}
  direct: {{type: socks5, server: "127.0.0.1:{port}", via: home}}
rules: []
default: bypass
""",
        encoding="utf-8",
    )
    found = load(file).config
    assert found is not None
    return found


def faults(
    config: Config, interfaces: dict[str, UsableInterfaces] = BY_LOOPBACK
) -> dict[str, str | None]:
    """By policy."""
    found = proxy_faults(config, interfaces)
    whys = {proxy: fault.why for proxy, fault in found.items()}
    return {
        name: whys.get(policy.proxy)
        for name, policy in config.policies.items()
        if policy.proxy is not None
    }


def test_one_by_an_interface(tmp_path: Path, listener: socket.socket, closed: int) -> None:
    port = listener.getsockname()[1]
    assert faults(config(tmp_path, port))["direct"] is None
    assert faults(config(tmp_path, closed))["direct"] == "Connection refused"
    lacking = "'home' has no address of its family"
    text = (tmp_path / "rules.yaml").read_text(encoding="utf-8").replace('"127.0.0.1:', '"[::1]:')
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    found = load(tmp_path / "rules.yaml").config
    assert found is not None
    assert faults(found)["direct"] == lacking


def test_one_whose_way_is_down_is_not_tried(tmp_path: Path, closed: int) -> None:
    assert set(faults(config(tmp_path, closed), {"home": {}}).values()) == {None}


@pytest.mark.parametrize(
    ("reply", "why"), [(SUCCESS, None), (NOT_THERE, "'first' cannot connect to it: answer 4")]
)
def test_one_behind_another(
    tmp_path: Path, listener: socket.socket, closed: int, reply: bytes, why: str | None
) -> None:
    asked: list[bytes] = []

    def serve() -> None:
        while len(asked) < 1:
            client, _ = listener.accept()
            with client:
                if client.recv(3) == b"\x05\x01\x00":
                    client.sendall(b"\x05\x00")
                    asked.append(client.recv(10))
                    client.sendall(reply)

    thread = Thread(target=serve)
    thread.start()
    found = faults(config(tmp_path, closed, first=listener.getsockname()[1]))
    thread.join()
    assert found["behind"] == why
    assert found["first"] is None
    assert asked == [b"\x05\x01\x00\x01\x7f\x00\x00\x01" + closed.to_bytes(2, "big")]


def test_one_behind_another_that_is_not_there(tmp_path: Path, closed: int) -> None:
    found = faults(config(tmp_path, closed, first=closed))
    assert found["first"] == "Connection refused"
    assert found["behind"] == UNREACHED
