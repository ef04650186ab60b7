"""The lines of the screen: every size, and what could control a terminal."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from router.cli.top.cells import cell, end, sparkline
from router.cli.top.choice import ORDERS, chosen
from router.cli.top.cursor import Cursor
from router.cli.top.drawing import Display, heights, screen
from router.cli.top.explaining import command, facts
from router.cli.top.model import View
from router.cli.top.policy_lines import percent, rate
from router.flows.drops import Drop
from tests.unit.cli.top.cases import HOSTILE, flow, policy, rule, status, views

SIZES = [(80, 24), (120, 40), (200, 60), (79, 17), (40, 10), (20, 5), (5, 3), (1, 1)]


def view(name: str = "office") -> View:
    down = policy("wg0", state="down", why_down=f"there is no interface {name}", applies="reject")
    policies = {"home": policy(out=1000), name: down, "drop": policy(None)}
    rules = [rule(1, 9), rule(2, 8, f'{{cidr: "192.0.2.2", policy: {name}}}', policy=name)]
    flows = [
        flow(1, out=10, rtt_ms=0.25),
        flow(2, "udp", out=None, bytes_in=None, policy=name, idle_s=None, age_s=None),
        flow(3, "icmp", rule=None, destination="2001:db8:1111:2222:3333:4444:5555:6666"),
        flow(4, source="2001:db8:1111:2222:3333:4444:5555:6666", interface=None),
    ]
    more: dict[str, Any] = {"rules_file": f"/etc/{name}.yaml", "drops": {"hop-limit": 3}}
    later = {**policies, "home": policy(out=3000)}
    return views(
        (status(1, policies, rules, **more), flows), (status(2, later, rules, **more), flows)
    )[1]


def lines(shown: View, width: int, height: int, **more: Any) -> list[str]:
    usual = {"order": "rate", "filter": "", "is_typing": False, "is_paused": False, "trouble": None}
    chosen_rows = chosen(shown.flows, "", "rate")
    display = Display(chosen_rows, Cursor(), **{**usual, **more})
    return [line.plain for line in screen(shown, display, width, height)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("name", ["office", "日本語の方針", HOSTILE])
def test_it_fits_and_controls_nothing(width: int, height: int, name: str) -> None:
    for more in ({}, {"is_typing": True, "filter": name * 20}, {"trouble": name * 20}):
        drawn = lines(view(name), width, height, **more)
        assert len(drawn) == height
        assert max(map(cell_len, drawn)) <= width
        assert all(line.isprintable() for line in drawn)


def test_eighty_columns() -> None:
    drawn = lines(view(), 80, 24)
    assert drawn[0].startswith(" tunrouter tun11  up 2 s  pid 4711")
    assert drawn[0].endswith("/etc/office.yaml ")
    assert [line.rstrip() for line in drawn[1:4]] == [
        "policy     flows rtt ms  loss  out B/s                   in B/s",
        "home           3   0.25     -     2.0k               █        0",
        "office      down: there is no interface office; reject applies",
    ]
    assert drawn[4].startswith("─ flows: 4, by rate ───")
    assert cell_len(drawn[4]) == 80
    text = "\n".join(drawn)
    assert "→ 198.51.100.1:443" in text
    assert '   1 home          0       9  "192.0.2.1" ' in text
    assert "hop-limit             0       3" in text
    assert drawn[-1].startswith(" s  sort")


def test_the_user_sees_what_is_chosen() -> None:
    assert "PAUSED" in lines(view(), 80, 24, is_paused=True)[0]
    gone = lines(view(), 80, 24, trouble="no router is running here: start one")[0]
    assert "NO ANSWER: no router is running here: start one" in gone
    assert " up " not in gone
    assert lines(view(), 80, 24, is_typing=True, filter="tcp")[-1].startswith(" filter: tcp ")
    assert "flows: 4 of 4, by rate, with 'tcp'" in lines(view(), 80, 24, filter="tcp")[4]
    assert "age▾" in "\n".join(lines(view(), 80, 24, order="age"))


@pytest.mark.parametrize("height", range(1, 70))
def test_heights_add_up(height: int) -> None:
    for policies in (0, 1, 5, 50):
        found = heights(height, policies)
        assert min(found) >= 0 or height < 8
        if height >= 24:
            assert found.flows >= 5
            assert found.policies >= min(policies, 4)


def test_what_is_down_is_shown_whatever_is_busy() -> None:
    down = policy("wg7", state="down", why_down="there is no interface wg7", applies="reject")
    after = {f"p{number}": policy(out=number * 100) for number in range(20)}
    after |= {f"d{number}": down for number in range(20)}
    shown = views((status(1, dict.fromkeys(after, policy())), []), (status(2, after), []))[1]
    drawn = lines(shown, 80, 24)[2:8]
    assert [line.split()[0] for line in drawn] == ["p17", "p18", "p19", "d0", "d1", "d2"]
    assert "down: there is no interface wg7; reject applies" in drawn[-1]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("width", (44, 60, 72, 80, 100, 132, 200))
def test_no_header_and_no_number_is_cut(width: int, order: str) -> None:
    """Columns are left out instead."""
    shown = view()
    drawn = lines(shown, width, 24, order=order)
    place = next(n for n, line in enumerate(drawn) if line.lstrip().startswith("source"))
    assert "…" not in drawn[place]
    assert drawn[place].split()[0:2] == ["source", "destination"]
    assert "▾" in drawn[place]


def test_hosts_of_a_network_differ_where_they_are_cut() -> None:
    flows = [flow(1, destination=f"2001:db8:1111:2222:3333:4444:5555:{n:x}") for n in range(2)]
    (shown,) = views((status(1, {"home": policy()}, [rule(1, 9)]), flows))
    cut = [line for line in lines(shown, 80, 24) if line.startswith("tcp")]
    assert len(cut) == len(set(cut)) == len(flows)


def test_names_of_policies_are_whole_where_there_is_room() -> None:
    name = "a-policy-of-20-chars"
    (shown,) = views(
        (status(1, {name: policy()}, [rule(1, 9, policy=name)]), [flow(1, policy=name)])
    )
    assert sum(name in line for line in lines(shown, 120, 24)) == len(
        ["the policy", "its flow", "its rule"]
    )


@pytest.mark.parametrize("reason", [each.value for each in Drop])
def test_reasons_are_whole(reason: str) -> None:
    (shown,) = views((status(1, {"home": policy()}, drops={reason: 123}), []))
    assert any(f" {reason} " in line for line in lines(shown, 80, 24))


def test_many_policies_are_the_busiest() -> None:
    before = {f"p{number}": policy() for number in range(30)}
    after = {f"p{number}": policy(out=number * 100) for number in range(30)}
    shown = views((status(1, before), []), (status(2, after), []))[1]
    drawn = lines(shown, 80, 24)
    assert drawn[1].startswith("policy 6/30")
    assert [line.split()[0] for line in drawn[2:8]] == ["p24", "p25", "p26", "p27", "p28", "p29"]
    assert drawn[8] == drawn[8].strip()


def test_sparklines() -> None:
    assert sparkline([0, 1, 4, 8, None], 8) == "    ▂▅█ "[1:].rjust(8)
    assert sparkline([3] * 100, 4) == "████"
    assert sparkline([0.001, 1000], 2) == "▁█"
    assert sparkline([], 3) == sparkline([0, 0], 3) == "   "
    assert sparkline([1], 0) == ""


def test_cells() -> None:
    assert cell("a\x1bb", 4) == "a\N{REPLACEMENT CHARACTER}b "
    assert cell("abcdef", 4) == "abc…"
    assert cell("日本", 3) == "日…"
    assert cell("ab", 4, "right") == "  ab"
    assert end("198.51.100.100", 44444, 16, is_port=True) == "198.…0.100:44444"
    assert end("2001:db8:100::3", 443, 20, is_port=True) == "[2001:d…:100::3]:443"
    assert end("2001:db8:100::3", 443, 8, is_port=True) == "[…3]:443"
    assert end("fd01::2", 80, 40, is_port=True) == "[fd01::2]:80"
    assert end("fd01::2", 7, 40, is_port=False) == "fd01::2 id 7"


def test_numbers() -> None:
    assert [rate(value) for value in (None, 0, 0.4, 999, 999.6, 48164, 447_000, 1.25e9)] == [
        *("-", "0", "0", "999", "1.0k", "48.2k", "447k", "1.2G")
    ]
    assert [percent(value) for value in (None, 0, 0.0004, 0.05, 0.25, 1)] == [
        *("-", "0%", "<0.1%", "5.0%", "25%", "100%")
    ]


def test_what_is_known_of_a_flow() -> None:
    shown = view(HOSTILE)
    for row in shown.flows:
        told = dict(facts(row, shown))
        assert {"flow", "rule", "policy", "path", "state", "out", "in"} <= told.keys()
    first = dict(facts(shown.flows[0], shown))
    assert first["rule"] == '1, line 10: {cidr: "192.0.2.1", policy: home}'
    assert first["policy"] == "home: up, by eth0"
    assert first["rtt"] == "0.25 ms"
    single = shown.flows[0]._replace(flow={**shown.flows[0].flow, "packets_in": 1, "bytes_in": 84})
    assert dict(facts(single, shown))["in"].startswith("1 packet, 84 bytes, ")
    assert command(shown.flows[0].flow, "r.yaml") == [
        *("explain", "198.51.100.1", "--config", "r.yaml", "--protocol", "tcp", "--port", "443")
    ]
    assert command(shown.flows[2].flow, "r.yaml")[-1] == "icmp"
