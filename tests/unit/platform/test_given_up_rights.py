"""The programs that ask name servers have given up root's rights when they do."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from router.cli import explain_program
from router.config.loader import load
from router.platform import host_names

NAME = "host.example"


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done, in its order."""
    found: list[str] = []

    def look_up(host: str | bytes, *_: Any, **__: Any) -> Any:
        found.append("looked up")
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    for module in (host_names, explain_program):
        monkeypatch.setattr(module, "become", lambda account: found.append(f"became {account}"))
        monkeypatch.setattr(module, "usual_account", lambda: "nobody")
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return found


def test_the_resolver(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["host_names", NAME])
    monkeypatch.setattr(signal, "alarm", lambda _: None)
    monkeypatch.setattr(os, "write", lambda *_: done.append("answered"))
    host_names.main()
    assert done == ["became nobody", "looked up", "answered"]


def test_the_explainer(done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the rules before, as root."""
    file = tmp_path / "rules.yaml"
    file.write_text("version: 1\nrules:\n  - {cidr: 192.0.2.0/24, policy: drop}\n")

    def read(*arguments: Any, **named: Any) -> Any:
        done.append("read")
        return load(*arguments, **named)

    monkeypatch.setattr(explain_program, "load", read)
    question = {"destination": NAME, "protocol": None, "port": None}
    assert "error" in explain_program.answer_question(file, question)
    assert done[:3] == ["read", "became nobody", "looked up"]
