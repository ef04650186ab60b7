"""`trace` and `explain --pcap` where they cannot begin: one sentence, and the exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from router.cli import exits, main, trace
from router.control.client import NoAnswerError


@pytest.fixture
def _without_scapy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "scapy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scapy", None)


@pytest.mark.usefixtures("_without_scapy")
@pytest.mark.parametrize("command", ["trace", "explain --pcap"])
def test_where_scapy_is_missing(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules, file = tmp_path / "rules.yaml", tmp_path / "packets.pcap"
    rules.write_text("version: 1\n")
    file.write_bytes(b"")
    name, *arguments = command.split()
    if arguments:
        arguments += [str(file), "-c", str(rules)]
    assert main([name, *arguments]) == (exits.FAILED if name == "trace" else exits.BAD_RULES)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"tunrouter {name}: ")
    assert "scapy" in said
    assert "pip install 'tunrouter[trace]'" in said


def _no_router(_: object) -> Path:
    raise NoAnswerError("no router is running here")


@pytest.mark.parametrize(
    ("find", "words", "status", "said"),
    [
        (_no_router, ["hots", "a"], exits.BAD_RULES, "'hots' is no word of a filter"),
        (_no_router, ["tcp"], exits.FAILED, "no router is running here"),
        (lambda _: Path("no.sock"), ["tcp"], exits.FAILED, "no router is running here"),
    ],
)
def test_what_keeps_a_trace_from_beginning(
    find: Callable[[object], Path],
    words: list[str],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(trace, "find_router", find)
    assert main(["trace", *words]) == status
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
