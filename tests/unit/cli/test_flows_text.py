"""The table of `flows`: 80 columns at a terminal, whole in a pipe; and the order."""

from __future__ import annotations

import io
from typing import Any

import pytest

from router.cli.flows import in_order
from router.cli.flows_text import SHOWN, print_flows

FLOW: dict[str, Any] = {
    **{"protocol": "tcp", "source": "10.1.0.2", "source_port": 40312},
    **{"destination": "198.51.100.1", "destination_port": 443, "policy": "home", "rule": 3},
    **{"interface": "eth0", "outside": "192.0.2.2", "outside_port": 40312, "state": "relayed"},
    **{"age_s": 63.2, "idle_s": 0.4, "packets_out": 12, "bytes_out": 1234567, "packets_in": 9},
    **{"bytes_in": 99123, "path": "relayed", "rtt_ms": 12.345},
}
PING = FLOW | {
    **{"protocol": "icmp", "source_port": 7, "destination_port": 7, "rule": None},
    **{"outside_port": 40000, "state": "answered", "rtt_ms": 250.0},
}
DIRECT: dict[str, Any] = FLOW | {
    **{"source": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "outside": None, "outside_port": None},
    **{"policy": "office-in-berlin", "interface": "wg-berlin-office", "state": "established"},
    **{"age_s": None, "path": "direct", "destination": "2001:db8:100::1", "bytes_in": None},
}
DIRECT.pop("rtt_ms")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(flows: list[dict[str, Any]], stream: io.StringIO | None = None) -> list[str]:
    stream = stream or io.StringIO()
    print_flows(flows, stream)
    return stream.getvalue().splitlines()


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")


def test_a_pipe_has_one_whole_line_a_flow() -> None:
    head, tcp, ping, direct = shown([FLOW, PING, DIRECT])
    assert " ".join(head.split()) == (
        "flow rule path source destination outside policy interface state "
        "age idle rtt ms B out B in pkt out pkt in"
    )
    assert " ".join(tcp.split()) == (
        "tcp 3 relayed 10.1.0.2:40312 198.51.100.1:443 192.0.2.2:40312 home eth0 relayed "
        "1m 0s 12.3 1.2M 99123 12 9"
    )
    assert "icmp  default  relayed" in ping
    assert "10.1.0.2 id 7" in ping
    assert "192.0.2.2 id 40000" in ping
    assert "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:40312" in direct
    assert direct.split()[-7:] == ["-", "0s", "-", "1.2M", "-", "12", "9"]


def test_a_terminal_of_80_columns() -> None:
    lines = shown([FLOW, DIRECT], Terminal())
    assert max(map(len, lines)) <= 80
    assert len(lines) == 9
    assert lines[3].split() == ["tcp", "10.1.0.2:40312", "home", "1m", "1.2M", "12"]
    assert lines[4].split() == ["3", "198.51.100.1:443", "eth0", "0s", "99123", "9"]
    assert lines[5].split() == ["relayed", "192.0.2.2:40312", "relayed", "12.3"]
    assert "…" in lines[6], "the ends are cut"
    assert "office-in-berlin" in lines[6]
    assert "[2001:db8:100::1]:443" in lines[7]


def test_no_flows() -> None:
    assert len(shown([])) == 1


def test_a_terminal_gets_the_first_of_very_many() -> None:
    lines = shown([FLOW] * (SHOWN + 1), Terminal())
    assert lines[-1] == f"{SHOWN} of {SHOWN + 1} flows, the first; --json has all"
    assert len(shown([FLOW] * (SHOWN + 1))) == SHOWN + 2


def test_the_order() -> None:
    flows: Any = [FLOW | {"age_s": 1.0, "idle_s": 9.0}, DIRECT, PING | {"bytes_in": 10**9}]
    assert [flows.index(flow) for flow in in_order(flows, "bytes")] == [2, 0, 1]
    assert [flows.index(flow) for flow in in_order(flows, "age")] == [2, 0, 1]
    assert [flows.index(flow) for flow in in_order(flows, "idle")] == [0, 1, 2]
