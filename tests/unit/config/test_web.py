"""`web:` and the addresses that it may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.config.listen import (
    BadListenError,
    check_reach,
    is_loopback,
    parse_listen,
    token_fault,
    url,
)
from router.config.loader import Loaded, load
from router.config.model import Web
from router.config.schema import DEFAULT_LISTEN

TOKEN = "0123456789abcdef"


def loaded(directory: Path, web: str) -> Loaded:
    file = directory / "rules.yaml"
    file.write_text(f"version: 1\nweb: {web}\n")
    return load(file)


def web_of(directory: Path, text: str) -> Web | None:
    found = loaded(directory, text)
    assert found.config is not None, found.problems
    return found.config.web


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("null", None),
        ("{}", parse_listen(DEFAULT_LISTEN)),
        ('{listen: "127.0.0.1:80"}', ("127.0.0.1", 80)),
        ('{listen: "[::1]:9469"}', ("::1", 9469)),
    ],
)
def test_where_it_listens(tmp_path: Path, text: str, expected: tuple[str, int] | None) -> None:
    found = web_of(tmp_path, text)
    assert (found and (found.host, found.port)) == expected


def test_a_token_is_read_and_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\nmore\n")
    file.chmod(0o600)
    found = web_of(tmp_path, '{listen: "0.0.0.0:9469", token_file: token}')
    assert found is not None
    assert found.token == TOKEN
    assert TOKEN not in repr(found)


@pytest.mark.parametrize("content", ["", "\n", "short\n", "with a blank in it\n", "ü" * 20])
def test_a_token_that_is_none_is_an_error_without_its_text(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(0o600)
    found = loaded(tmp_path, '{listen: "0.0.0.0:9469", token_file: token}')
    assert found.config is None
    assert [problem.code for problem in found.problems] == ["bad-token"]
    shown = found.problems[0].as_text(found.sources)
    assert not content.strip() or content.strip() not in shown


@pytest.mark.parametrize(
    "text",
    [
        *("", "9469", ":9469", "127.0.0.1", "localhost:9469", "::1:9469", "[127.0.0.1]:9469"),
        *("127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "[::1%lo]:9469"),
        *("[::1]9469", "224.0.0.1:9469", "127.1:9469", "127.0.0.1:９469"),
    ],
)
def test_what_is_no_address_with_a_port(text: str) -> None:
    with pytest.raises(BadListenError) as error:
        parse_listen(text)
    assert error.value.remedy


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("::ffff:192.168.1.2", False),
    ],
)
def test_only_loopback_addresses_need_no_token(host: str, near: bool) -> None:
    assert is_loopback(host) is near
    check_reach(host, has_token=True)
    if near:
        check_reach(host, has_token=False)
    else:
        with pytest.raises(BadListenError, match="no token is set"):
            check_reach(host, has_token=False)


def test_tokens_and_urls() -> None:
    assert token_fault(TOKEN) is None
    assert token_fault("x" * 257)
    assert (url("::1", 1), url("127.0.0.1", 2)) == ("http://[::1]:1/", "http://127.0.0.1:2/")
