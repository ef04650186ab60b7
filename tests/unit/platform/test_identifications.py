"""Identifications of fragments: 16 bits, never zero, and not by a module that starts slowly."""

from __future__ import annotations

import subprocess
import sys

import pytest

from router.platform import identifications


def test_an_identification_is_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    given = iter([b"\x00\x00", b"\xff\xff", b"\x12\x34"])
    monkeypatch.setattr("os.urandom", lambda _length: next(given))
    assert [identifications.random_identification() for _ in range(3)] == [1, 0xFFFF, 0x1234]


def test_the_router_starts_without_openssl() -> None:
    """hashlib, and with it secrets, random and hmac, loads OpenSSL at its import."""
    program = (
        "import sys, router.cli.run, router.engine.assembly;"
        "print([name for name in ('hashlib', 'secrets', 'random', 'ssl') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert shown.stdout.strip() == b"[]"


SLOW = ("pyroute2", "asyncio", "ssl", "multiprocessing", "rich", "scapy", "netaddr")


@pytest.mark.parametrize(
    "program",
    [
        "import router.platform.linux.guard",
        "import router.engine.router",
        "import router.platform.linux.undoer\n"
        "from router.platform.linux.entries import rule_entry\n"
        "from router.platform.linux.netlink.rules import Rule\n"
        "from router.platform.linux.undoable import LINUX\n"
        "from router.platform.privileged.undoable import undo_all\n"
        "undo_all(LINUX, [rule_entry(Rule(2, 'nosuch0', 0x74750001, 32800, 116))])",
    ],
)
def test_no_process_of_a_run_imports_what_starts_slowly(program: str) -> None:
    """A rule is undone, or refused without root, by the router's own messages."""
    shown = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert set(SLOW).isdisjoint(shown.stdout.split())
