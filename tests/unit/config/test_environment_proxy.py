from __future__ import annotations

import pytest

from router.config.environment_proxy import NamedProxy, OtherProxy, proxy_of


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"ALL_PROXY": " "}, None),
        ({"ALL_PROXY": "socks5://192.0.2.1"}, NamedProxy("ALL_PROXY", "192.0.2.1", 1080)),
        ({"all_proxy": "SOCKS5H://proxy.example:9/"}, NamedProxy("all_proxy", "proxy.example", 9)),
        ({"all_proxy": "socks5h://[2001:db8::1]:9"}, NamedProxy("all_proxy", "2001:db8::1", 9)),
        (
            {"ALL_PROXY": "socks5://m%20e:s3cret@h:1"},
            NamedProxy("ALL_PROXY", "h", 1, "m e"),
        ),
        ({"ALL_PROXY": "socks5://:s3cret@h:1"}, NamedProxy("ALL_PROXY", "h", 1)),
        (
            {"ALL_PROXY": "http://h:1", "https_proxy": "socks5://h:2"},
            NamedProxy("https_proxy", "h", 2),
        ),
    ],
)
def test_variables(environment: dict[str, str], expected: NamedProxy | None) -> None:
    assert proxy_of(environment) == expected


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("http://me:s3cret@h:1", "the scheme 'http'"),
        ("socks4://me:s3cret@h:1", "the scheme 'socks4'"),
        ("s3cret@h:1080", "no scheme"),
        ("socks5://me:s3cret@h:99999", "no URL"),
        ("socks5://[::1", "no URL"),
        ("socks5://me:s3cret@:1", "no host and port"),
        ("socks5://me:s3cret@a_b c:1", "no host and port"),
        ("socks5://me:s3cret@h:0", "no host and port"),
        ("socks5://m%0ae:s3cret@h:1", "user name"),
        ("socks5://" + "m" * 256 + ":s3cret@h:1", "user name"),
    ],
)
def test_other_proxies(value: str, why: str) -> None:
    found = proxy_of({"ALL_PROXY": value})
    assert isinstance(found, OtherProxy)
    assert why in found.why
    assert "s3cret" not in found.why
