"""The text of `status`: whole in a pipe, as wide as a terminal at most."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from router.cli.status_text import busiest, duration, print_status, quantity

NUMBERS = ("packets_out", "bytes_out", "packets_in", "bytes_in", "flows")


def policy(state: str, interface: str | None, applies: str, *numbers: int) -> dict[str, Any]:
    path = "direct" if state == "up" and interface else None
    why = None if state == "up" else f"interface {interface} is missing"
    members: dict[str, Any] = {
        **{"state": state, "interface": interface, "applies": applies, "path": path},
        **{"why_down": why, "server": None, "found": []},
    }
    return members | dict(zip(NUMBERS, numbers, strict=True))


def rule(index: int, packets: int = 0, text: str = "{cidr: 10.0.0.0/8, policy: home}") -> Any:
    return {
        **{"index": index, "line": 10 + index, "policy": "home"},
        **{"flows": packets // 10, "packets": packets, "text": text},
    }


ANSWER: dict[str, Any] = {
    "pid": 4711,
    "uptime_s": 93784.2,
    "rules_file": "/etc/tunrouter/rules.yaml",
    "tun": "tun11",
    "policies": {
        "reply": policy("up", None, "reply", 12, 1008, 12, 1008, 0),
        "home": policy("up", "eth0", "home", 1234567, 99123456789, 2234567, 1234, 1200),
        "office-in-berlin": policy("down", "wg0", "reject", 0, 0, 0, 0, 0),
    },
    "rules": [
        rule(1, 5000),
        rule(2, 0, '{cidr: [10.0.0.0/8, "fd00:10::/32", [link=x]y[/link]], policy: home}'),
    ],
    "default": {"line": None, "policy": "bypass", "flows": 0, "packets": 7},
    "drops": {"rejected": 1234, "hop-limit": 3},
    "flows": {"icmp": 3, "udp": 200, "tcp": 1000},
}

COLOURS = re.compile("\x1b\\[[0-9;]*m")
WHOLE = """\
pid 4711, TUN tun11, up 1 d 2 h
rules  /etc/tunrouter/rules.yaml
flows  icmp 3, udp 200, tcp 1,000
drops  rejected 1,234, hop-limit 3

                                                  packets  bytes  packets  bytes
policy            state         interface  flows      out    out       in     in
home              up direct     eth0        1200     1.2M    99G     2.2M   1234
office-in-berlin  down: reject  wg0            0        0      0        0      0
reply             up                           0       12   1008       12   1008
office-in-berlin is down: interface wg0 is missing

rule  line  flows  packets  policy
   1    11    500     5000  home    {cidr: 10.0.0.0/8, policy: home}
   2    12      0        0  home    \
{cidr: [10.0.0.0/8, "fd00:10::/32", [link=x]y[/link]], policy: home}
                0        7  bypass  default
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def rendered(answer: dict[str, Any], stream: io.StringIO) -> str:
    print_status(answer, stream)
    return stream.getvalue()


def test_in_a_pipe_nothing_is_cut() -> None:
    assert rendered(ANSWER, io.StringIO()) == WHOLE


@pytest.mark.parametrize("width", [60, 72, 80, 120])
def test_at_a_terminal_words_are_cut_and_no_number(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    lines = COLOURS.sub("", rendered(ANSWER, Terminal())).splitlines()
    assert max(map(len, lines)) <= max(width, 72), "narrower, the numbers alone have no room"
    (home,) = (line for line in lines if line.startswith("home"))
    if width >= 72:
        assert home.split()[1:] == ["up", "direct", "eth0", "1200", "1.2M", "99G", "2.2M", "1234"]
    (second,) = (line for line in lines if line.startswith("   2"))
    assert second.endswith("…") == (width < 102)


def test_only_the_busiest_of_many_rules() -> None:
    rules = [rule(index, packets=index % 50) for index in range(1, 101)]
    shown = busiest(rules)
    assert [each["index"] for each in shown] == [*range(40, 50), *range(90, 100)]
    text = rendered({**ANSWER, "rules": rules}, io.StringIO())
    assert text.endswith("20 of 100 rules, the busiest; --json has all\n")
    assert busiest([rule(index) for index in range(100)]) == []


def test_what_a_proxy_was_found_not_to_do() -> None:
    home = {**ANSWER["policies"]["home"], "server": "192.0.2.1:1080", "found": ["carries no UDP"]}
    text = rendered({**ANSWER, "policies": {"home": home}}, io.StringIO())
    assert "\nhome: the proxy 192.0.2.1:1080 carries no UDP\n" in text


def test_drops_that_are_none() -> None:
    assert "\ndrops  none\n" in rendered({**ANSWER, "drops": {}}, io.StringIO())


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (99_999, "99999"),
        (100_000, "100k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (9_949_999, "9.9M"),
        (9_950_000, "10M"),
        (10**18, "1000P"),
    ],
)
def test_quantities(number: int, text: str) -> None:
    assert quantity(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "0 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (86399, "23 h 59 min"),
        (8640000, "100 d 0 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
