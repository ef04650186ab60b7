"""check, explain and schema as commands: output streams and exit status."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import router
from router.cli import check as check_module
from router.cli import explain as explain_module
from router.cli import main, terminal
from router.config.loader import load
from router.policy.network import SourceRange
from tests.unit.check.networks import LAPTOP, UNREADABLE, SnapshotWays
from tests.unit.config.test_fuzz import PUNCTUATION, WORDS
from tests.unit.config.test_many_mistakes import BAD_LIST, marked, put_together
from tests.unit.examples import examples

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(router.__file__).parents[1]

GOOD = """\
version: 1
tun: {name: tun11}
policies:
  home: {type: direct, interface: default}
  office: {type: vpn, interface: wg0, on_down: drop}
  lab: {type: vpn, interface: eth2, on_down: office}
rules:
  - {cidr: 198.18.0.7, policy: reply}
  - {cidr: 198.18.0.0/24, protocol: tcp, port: [22, 8000-8100], policy: office}
  - {cidr: [198.18.0.0/16, "2001:db8:5::/48"], policy: home}
  - {cidr: 10.0.0.0/8, policy: office}
  - {cidr: 198.51.100.0/24, policy: lab}
  - {cidr: 198.19.0.0/24, policy: bypass}
  - {cidr: 198.19.0.0/16, policy: drop}
"""


@pytest.fixture(autouse=True)
def _on_the_laptop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (check_module, explain_module):
        monkeypatch.setattr(module, "present_network", lambda _user=None, **_: LAPTOP)
    monkeypatch.setattr(explain_module, "kernel_ways", lambda: SnapshotWays(LAPTOP))
    monkeypatch.chdir(tmp_path)


def write(text: str) -> None:
    Path("rules.yaml").write_text(text, encoding="utf-8")


# Exit codes


@pytest.mark.parametrize(
    ("text", "plain", "strict"),
    [
        ("version: 1\nrules:\n  - {cidr: 198.18.0.0/24, policy: reject}\n", 0, 0),
        ("version: 1\nrules:\n  - {cidr: 198.18.0.1/24, policy: reject}\n", 0, 1),
        ("version: 1\nrules:\n  - {cidr: 198.18.0.0/24, policy: nope}\n", 1, 1),
        ("version: 1\nrules: [\n", 1, 1),
    ],
    ids=["good", "a warning", "an error", "no YAML"],
)
@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_exit_codes_of_check(text: str, plain: int, strict: int, form: str) -> None:
    write(text)
    assert main(["check", "--format", form]) == plain
    assert main(["check", "--format", form, "--strict"]) == strict


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_a_file_that_cannot_be_read(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", "absent.yaml", "--format", form]) == 2
    printed = capsys.readouterr().out
    assert "absent.yaml" in printed
    if form == "json":
        output = json.loads(printed)
        assert output["plan"] is None
        assert [problem["code"] for problem in output["problems"]] == ["unreadable-rules-file"]


def test_check_finds_the_rules_of_the_working_directory(capsys: pytest.CaptureFixture[str]) -> None:
    write(GOOD)
    assert main(["check"]) == 0
    assert "plan: tun11" in capsys.readouterr().out


# Output


def test_json_output_has_the_documented_members(capsys: pytest.CaptureFixture[str]) -> None:
    write(GOOD)
    main(["check", "--format", "json"])
    output = json.loads(capsys.readouterr().out)
    assert {"problems", "plan"} <= set(output)
    for problem in output["problems"]:
        assert set(problem) == {"code", "severity", "file", "line", "column", "message", "help"}
        assert problem["severity"] in ("error", "warning")
    plan = output["plan"]
    assert plan["tun"]["name"] == "tun11"
    assert (plan["rules"], plan["prefixes"]) == (7, 8)
    assert {"prefix": "10.0.0.0/8", "device": "tun11", "mtu": 1420} in plan["routes"]
    assert all(set(route) == {"prefix", "device", "mtu"} for route in plan["routes"])


def test_a_route_shows_the_source_address_that_programs_get(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only that of the outbound which the route leads to."""
    last = (1 << 32) - 1
    network = LAPTOP._replace(sources={("wg0", 4): (SourceRange(0, last, 0x0A080002),)})
    monkeypatch.setattr(check_module, "present_network", lambda _user=None, **_: network)
    write(GOOD)
    main(["check", "--format", "json"])
    routes = {
        each["prefix"]: each for each in json.loads(capsys.readouterr().out)["plan"]["routes"]
    }
    assert routes["10.0.0.0/8"].get("source") == "10.8.0.2"
    assert "source" not in routes["198.18.0.0/16"]
    main(["check"])
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.split()}
    assert shown["10.0.0.0/8"].endswith(" from 10.8.0.2")
    assert " from " not in shown["198.18.0.0/16"]


def test_all_problems_of_a_broken_file_are_reported_at_their_places(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rules, in_rules = marked(put_together(1))
    bad_list, in_list = marked(BAD_LIST)
    write(rules)
    Path("bad.txt").write_text(bad_list, encoding="utf-8")
    Path("good.txt").write_text("192.168.0.0/16\n", encoding="utf-8")
    Path("empty.txt").write_text("# nothing\n", encoding="utf-8")
    assert main(["check", "--format", "json"]) == 1
    output = json.loads(capsys.readouterr().out)
    assert output["plan"] is None
    found = {(p["file"], p["line"], p["column"], p["code"]) for p in output["problems"]}
    expected = {("rules.yaml", *place) for place in in_rules}
    expected |= {("bad.txt", *place) for place in in_list}
    assert found == expected
    assert len(output["problems"]) >= 50
    assert main(["check", "--format", "github"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == len(output["problems"])
    assert main(["check"]) == 1
    text = capsys.readouterr().out
    assert all(f"{file}:{line}:{column}: " in text for file, line, column, _ in found)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_at_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = load(GOLDEN / "has-errors.yaml").problems[0]
    text = "x.yaml:1:1: " + problem.as_text(load(GOLDEN / "has-errors.yaml").sources)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    painted = terminal.paint(text, Terminal())
    assert "\x1b[1;31merror[unknown-policy]\x1b[0m" in painted
    assert "\x1b[36mhelp:\x1b[0m" in painted
    assert terminal.paint(text, io.StringIO()) == text
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.paint(text, Terminal()) == text


def test_progress_is_drawn_at_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with terminal.progress_bar("reading lists") as progress:
        assert progress is not None
        progress(1_000, 2_000)
        assert screen.getvalue() == ""
        progress(terminal.LARGE, 2 * terminal.LARGE)
        progress(2 * terminal.LARGE, 2 * terminal.LARGE)
    assert "reading lists" in screen.getvalue()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with terminal.progress_bar("reading lists") as progress:
        assert progress is None


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"]


def test_the_example_names_the_schema() -> None:
    first = (ROOT / "rules.example.yaml").read_text(encoding="utf-8").partition("\n")[0]
    path = first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads((ROOT / path).read_text(encoding="utf-8"))["$schema"]


# Explain


CASES = {
    "a-rule": ["198.18.0.8"],
    "with-protocol-and-port": ["198.18.0.8", "--protocol", "tcp", "--port", "22"],
    "with-another-protocol": ["198.18.0.8", "--protocol", "icmp"],
    "with-another-port": ["198.18.0.8", "--protocol", "tcp", "--port", "23"],
    "replied": ["198.18.0.7"],
    "dropped": ["198.19.77.1"],
    "bypass": ["198.19.0.1"],
    "the-default": ["8.8.8.8"],
    "v6": ["2001:db8:5::1"],
    "down": ["198.51.100.1"],
    "another-vpn-wins": ["10.50.1.1"],
    "connected": ["10.99.0.2"],
    "by-the-vpn": ["10.9.0.1"],
    "ourselves": ["192.0.2.2"],
    "loopback": ["127.0.0.1"],
    "a-neighbour": ["192.0.2.77"],
    "unreadable": ["198.18.0.8"],
}


@pytest.mark.parametrize("case", CASES)
def test_explanations_word_for_word(
    case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if case == "unreadable":
        monkeypatch.setattr(explain_module, "present_network", lambda **_: UNREADABLE)
    write(GOOD)
    for ending, options in (("txt", []), ("json", ["--json"])):
        assert main(["explain", *CASES[case], *options]) == 0
        printed = capsys.readouterr().out
        golden = GOLDEN / "explain" / f"{case}.{ending}"
        if os.environ.get("UPDATE_GOLDEN"):
            golden.parent.mkdir(exist_ok=True)
            golden.write_text(printed, encoding="utf-8")
        assert printed == golden.read_text(encoding="utf-8")


def test_explain_json_has_the_documented_members(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(GOOD)
    assert main(["explain", "198.18.0.8", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert list(output)[:10] == [
        *("destination", "captured", "rule", "policy", "action"),
        *("interface", "source", "gateway", "state", "skipped"),
    ]
    assert output["rule"] == {
        "index": 3,
        "file": "rules.yaml",
        "line": 10,
        "text": '{cidr: [198.18.0.0/16, "2001:db8:5::/48"], policy: home}',
    }
    assert set(output["skipped"][0]) == {"index", "line", "why"}


def test_each_address_of_a_name_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(host: str, *_: Any, **__: Any) -> list[Any]:
        assert host == "intranet"
        addresses = ["198.18.0.9", "2001:db8:5::9", "198.18.0.9"]
        return [(0, 0, 0, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    write(GOOD)
    assert main(["explain", "intranet", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert [each["destination"] for each in output] == ["198.18.0.9", "2001:db8:5::9"]
    assert main(["explain", "intranet"]) == 0
    assert "198.18.0.9\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["10.0.0.0/8"], "such as 10.0.0.1"),
        (["203.0.113.1-203.0.113.4"], "is a range: give one address of it, such as 203.0.113.1"),
        (["fd00::1 - fd00::4"], "is a range: give one address of it, such as fd00::1"),
        (["203.0.113.1-4"], "is a range: give one address of it"),
        (["203.0.113.1\N{EN DASH}203.0.113.4"], "is a range: give one address of it"),
        (["010.1.1.1"], "has a leading zero"),
        (["1.2"], "does not have four numbers"),
        (["2130706433"], "does not have four numbers"),
        (["1.2.3.4."], "does not have four numbers"),
        (["0x7f.1"], "is written in hexadecimal"),
        (["127.0.0.0x1"], "is written in hexadecimal"),
        (["::1-::4"], "is a range: give one address of it, such as ::1"),
        (["10.0.0.300/8"], "neither an address nor a host name"),
        (["1:2:3"], "neither an address nor a host name"),
        (["a" * 300], "write an address"),
        (["x..y"], "write an address"),
        ([""], "write an address"),
        (["\ud800"], "write an address"),
        (["198.18.0.1", "--protocol", "icmp", "--port", "80"], "icmp has no ports"),
    ],
)
def test_invalid_arguments_of_explain(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(GOOD)
    assert main(["explain", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "٣"])
def test_bad_ports(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["explain", "198.18.0.1", f"--port={port}"])
    assert ended.value.code == 2
    assert "a port is a number" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["version: 1\nrules: [\n", "version: 2\n"])
def test_explain_needs_valid_rules(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "198.18.0.1", "-c", "absent.yaml"]) == 2
    assert "absent.yaml" in capsys.readouterr().err
    write(text)
    assert main(["explain", "198.18.0.1"]) == 2
    assert "error[" in capsys.readouterr().err


# Any input


@settings(
    max_examples=examples(120),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.binary(max_size=120)
    | st.lists(st.sampled_from(WORDS + PUNCTUATION), max_size=25).map(lambda w: "".join(w).encode())
    | st.integers(0, len(GOOD)).map(lambda at: GOOD.encode()[:at]),
    st.sampled_from(["text", "json", "github"]),
    st.sampled_from(["198.18.0.1", "::1", "10.0.0.0/8", "ff02::1"]),
)
def test_no_rules_file_shows_a_traceback(data: bytes, form: str, destination: str) -> None:
    Path("rules.yaml").write_bytes(data)
    assert main(["check", "--format", form]) in (0, 1, 2)
    assert main(["explain", destination, "--json"]) in (0, 2)


def test_the_program_and_a_closed_pipe() -> None:
    write(GOOD)
    command = [sys.executable, "-m", "router.cli"]
    done = subprocess.run(
        [*command, "check"], capture_output=True, text=True, check=False, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr
    assert "plan: tun11" in done.stdout
    shell = f'"{sys.executable}" -m router.cli check --format json | true'
    cut = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert cut.stderr == ""


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_names_that_are_not_utf8_and_terminals_of_few_characters(form: str) -> None:
    # File systems of a Mac have no other names than those of UTF-8.
    name = b"r\xffules.yaml" if sys.platform == "linux" else "rüles.yaml".encode()
    Path(os.fsdecode(name)).write_text(GOOD.replace("policy: reply", "policy: réply"), "utf-8")
    command = [sys.executable, "-m", "router.cli", "check", "--format", form]
    command += ["-c", os.fsdecode(name)]
    for encoding in ("utf-8", "ascii", "latin-1"):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, check=False, env=environment)
        assert (done.returncode, done.stderr) == (1, b"")
        assert b"unknown-policy" in done.stdout
