"""Scoped defaults in the journal that all systems share: undone by the guard when the undoer is
gone, by `cleanup` when both are, and not after another boot."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from router.platform.base.processes import Leftover
from router.platform.darwin.routes import DarwinRoutes
from router.platform.darwin.state import read_interfaces
from router.platform.darwin.undoable import DarwinUndoable
from router.platform.privileged.journal import Journal
from router.platform.privileged.leftovers import clean_up
from router.platform.privileged.undoer import Undoer
from tests.unit.darwin.fake_processes import processes
from tests.unit.darwin.macs import ADDRESSES, LINK, VPN, Mac, key

DEFAULTS = {key("0.0.0.0/0", scope=VPN), key("::/0", scope=VPN)}
LEFT = [
    Leftover("the scoped default route of IPv6 by utun3"),
    Leftover("the scoped default route of IPv4 by utun3"),
]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory / "utun11.undo"


def killed_run(mac: Mac, journal: Path) -> None:
    """Guard and undoer are killed: nothing is undone, and nothing has the file locked."""
    left = Journal.create(DarwinUndoable(mac.kernel, processes()), journal)
    routes = DarwinRoutes(mac.kernel, LINK, 1500, ADDRESSES, left.write)
    routes.prepare_interface(read_interfaces(mac.kernel)["utun3"])
    left.close()
    assert mac.added() == DEFAULTS


def test_the_guard_undoes_what_a_killed_undoer_cannot(journal: Path) -> None:
    mac = Mac()
    undoer = Undoer(DarwinUndoable(mac.kernel, processes()), journal)
    routes = DarwinRoutes(mac.kernel, LINK, 1500, ADDRESSES, undoer.record)
    routes.prepare_interface(read_interfaces(mac.kernel)["utun3"])
    assert mac.added() == DEFAULTS
    assert journal.read_bytes().count(b"scoped_default") == 2
    os.kill(undoer._process.pid, signal.SIGKILL)
    assert undoer.close()
    assert mac.kernel.table == mac.before
    assert not journal.parent.exists()


def test_what_killed_processes_have_left_is_cleaned_up(journal: Path) -> None:
    mac = Mac()
    killed_run(mac, journal)
    assert list(clean_up(DarwinUndoable(mac.kernel, processes()), journal.parent)) == LEFT
    assert mac.kernel.table == mac.before
    assert not journal.parent.exists()


def test_after_another_boot_there_is_nothing_to_undo(journal: Path) -> None:
    mac = Mac()
    killed_run(mac, journal)
    mac.kernel.boot = "another"
    assert list(clean_up(DarwinUndoable(mac.kernel, processes()), journal.parent)) == []
    assert set(mac.kernel.table) >= DEFAULTS, "a route like ours is another program's by now"
    assert not journal.parent.exists()


def test_a_record_of_another_version_is_named_and_stays(journal: Path) -> None:
    mac = Mac()
    killed_run(mac, journal)
    written = journal.read_bytes() + b'{"undo": "rule"}\n'
    journal.write_bytes(written)
    strange, *undone = clean_up(DarwinUndoable(mac.kernel, processes()), journal.parent)
    assert undone == LEFT
    assert strange.why is not None
    assert "not a record of this router" in strange.why
    assert "netstat -rn" in strange.why
    assert b'{"undo": "rule"}' in journal.read_bytes()
