"""`trace` and `explain --pcap` where they cannot begin: one sentence, and the exit status; and
what a trace captures."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP

from router.cli import exits, main, trace
from router.control.client import NoAnswerError
from router.platform.base.capture import Captured


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


class Script:
    """A follower whose lines come one after the other; then the router has ended."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self._lines = lines
        self._readable, self._other = socket.socketpair()
        self._other.send(b"readable")

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self._readable.close()
        self._other.close()

    def fileno(self) -> int:
        return self._readable.fileno()

    def read(self) -> list[dict[str, Any]] | None:
        return [self._lines.pop(0)] if self._lines else None


class Recorded:
    """A capture that records its calls."""

    def __init__(self, *_: object) -> None:
        self.calls: list[object] = []

    def only_by(self, interfaces: Collection[int] | None) -> None:
        self.calls.append(interfaces)

    def read(self) -> Iterator[Captured]:
        self.calls.append("read")
        return iter(())

    def discard(self, before: float) -> None:
        assert before < time.time()
        self.calls.append("discard")

    def close(self) -> None:
        self.calls.append("close")


QUERY = bytes(IP(src="192.0.2.2", dst="198.51.100.1") / ICMP(id=7))


def line(path: str) -> dict[str, Any]:
    return {
        **{"time": time.time(), "direction": "out", "length": len(QUERY), "verdict": "forward"},
        **{"reason": None, "rule": 1, "policy": "home", "interface": "eth0", "path": path},
        **{"outside": None, "outside_port": None, "packet": b64encode(QUERY).decode()},
    }


def traced(
    words: str, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> list[Recorded]:
    """The captures that were opened."""
    opened: list[Recorded] = []

    def open_capture(*_: object) -> Recorded:
        opened.append(Recorded())
        return opened[-1]

    monkeypatch.setattr(trace, "find_router", lambda _: Path("tun11.sock"))
    monkeypatch.setattr(trace, "following", lambda *_: Script(lines))
    monkeypatch.setattr(trace, "open_capture", open_capture)
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    assert main(["trace", words]) == exits.FAILED, "the router has ended"
    return opened


def test_answers_are_read_when_a_packet_was_reported_that_left_directly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [{"tracing": "tun11", "answered_by": [3]}, line("relayed"), line("direct")]
    (capture,) = traced("rule 1", lines, monkeypatch)
    assert capture.calls == [[3], "discard", "discard", "read", "read", "close"]


def test_the_interfaces_of_answers_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, Any]] = [{"tracing": "tun11", "answered_by": []}]
    lines += [{"answered_by": [4]}, {"answered_by": None}]
    (capture,) = traced("policy office", lines, monkeypatch)
    assert [call for call in capture.calls if call != "discard"] == [[], [4], None, "close"]


def test_where_no_answer_can_match_none_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, Any]] = [{"tracing": "tun11", "answered_by": []}]
    assert traced("tcp and dropped", lines, monkeypatch) == []


class Interrupted(Script):
    """One that goes on; Ctrl-C is pressed while the second line is read."""

    def read(self) -> list[dict[str, Any]] | None:
        found = super().read()
        if len(self._lines) == 1:
            signal.raise_signal(signal.SIGINT)
        if not self._lines:
            self._readable.recv(100)
        return found


def test_ctrl_c_loses_no_line_that_the_router_has_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines: list[dict[str, Any]] = [{"tracing": "tun11", "answered_by": []}]
    lines += [line("relayed"), line("relayed")]
    monkeypatch.setattr(trace, "find_router", lambda _: Path("tun11.sock"))
    monkeypatch.setattr(trace, "following", lambda *_: Interrupted(lines))
    monkeypatch.setattr(trace, "open_capture", Recorded)
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["trace", "icmp", "--pcap", str(tmp_path / "file")]) == exits.OK
    finally:
        signal.signal(signal.SIGINT, before)
    printed = capsys.readouterr()
    assert printed.out.count("echo-request") == 2
    assert printed.err.endswith("tunrouter trace: 2 packets\n")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
