"""What the router's process can do once it is taken over: what docs/adr/010-guard.md says, and no
more. The attacker's code is in tests.e2e.intruder; docs/security.md has the table of what it
tries."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.intruder import LEFT, left_socket
from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.split import RULES, ping_both
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import PROGRAM, TUN, Tunrouter, files_of, write_rules
from tests.e2e.wait import wait_until

pytestmark = pytest.mark.usefixtures("strict_rp_filter")

INTRUDER: Final = (sys.executable, "-m", "tests.e2e.intruder")
DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "security.md"


class TakenOver(Tunrouter):
    """The router with an intruder."""

    def __init__(self, bed: Testbed, directory: Path, *options: str) -> None:
        program = (*INTRUDER, *options)
        super().__init__(bed.router, write_rules(directory, RULES), program=program)

    def wait_until_left(self) -> None:
        """It logs that it is ready before it is attacked."""
        wait_until(lambda: LEFT in self.output, "the TUN to be persistent", detail=lambda: self.log)


def documented() -> dict[str, str]:
    """By attempt, its result, of the table in docs/security.md."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    start = lines.index("| attempt | result |")
    rows = [line.strip("| ").split(" | ") for line in lines[start + 2 :]]
    return {row[0]: row[1].strip("`") for row in rows if len(row) == 2}


def test_each_attempt_is_refused_and_the_router_goes_on(bed: Testbed, tmp_path: Path) -> None:
    before, files = state(bed.router), files_of(bed.router)
    router = TakenOver(bed, tmp_path)
    try:
        router.wait_until_ready()
        wait_until(lambda: router.output.endswith("}\n"), "the attempts", detail=lambda: router.log)
        found = json.loads(router.output)
        expected = documented()
        assert found.keys() == expected.keys()
        differing = {name: text for name, text in found.items() if expected[name] not in text}
        assert not differing
        assert left_socket(router.pid).is_socket()
        assert "203.0.113.0/24" not in state(bed.router), "what was refused is not wanted"
        ping_both(bed)
        wait_until(lambda: router.reload().startswith("reloaded"), "readers to be started again")
        assert router.stop().exit_code == 0
    finally:
        router.close()
        left_socket(router.pid).unlink(missing_ok=True)
    wait_for_state(bed.router, before)
    assert files_of(bed.router) == files


def test_a_tun_that_is_left_behind_is_deleted(bed: Testbed, tmp_path: Path) -> None:
    """By guard and undoer, at the end of the router's process itself: its child has the connection
    to the guard, and lives on."""
    before, files = state(bed.router), files_of(bed.router)
    router = TakenOver(bed, tmp_path, "--leave")
    try:
        router.wait_until_left()
        ping_both(bed)
        os.kill(router.pid, signal.SIGKILL)
        wait_for_state(bed.router, before)
        wait_until(lambda: files_of(bed.router) == files, "the files to be removed")
        assert router.pids(), "the child"
    finally:
        for pid in router.pids():
            os.kill(pid, signal.SIGKILL)
        router.close()


def test_cleanup_deletes_a_tun_that_is_left_behind(bed: Testbed, tmp_path: Path) -> None:
    before, files = state(bed.router), files_of(bed.router)
    router = TakenOver(bed, tmp_path, "--leave")
    try:
        router.wait_until_left()
        for by in (signal.SIGSTOP, signal.SIGKILL):
            for pid in router.pids():
                os.kill(pid, by)
        wait_until(lambda: not router.pids(), "all of its processes to end")
        assert TUN in state(bed.router)
        assert f"undone: the TUN device {TUN}" in bed.router.run(PROGRAM, "cleanup").stdout
        assert (state(bed.router), files_of(bed.router)) == (before, files)
    finally:
        router.close()
