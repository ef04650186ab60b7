"""Valid entries of any journal are undone, the rest is named and stays, and nothing that a run
does not change is touched."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from router.cli import cleanup
from router.platform.base.processes import Leftover
from router.platform.linux import leftovers, runtime, undo, undoable
from router.platform.linux.entries import (
    TABLE_BASE,
    parse_entry,
    recorded_rule,
    route_entry,
    rule_entry,
    sysctl_entry,
    tun_entry,
)
from router.platform.linux.netlink.request import Request
from router.platform.linux.netlink.rules import Rule, delete_rule
from router.platform.linux.netlink.single_routes import SingleRoute
from router.platform.linux.runtime import namespace_identity
from router.platform.linux.undoable import LINUX
from router.platform.privileged.journal import Journal
from router.platform.privileged.socket_files import socket_entry
from router.platform.privileged.undoable import Entry, as_line
from tests.unit.examples import examples

FUZZ = settings(max_examples=examples(200), suppress_health_check=list(HealthCheck))
TUN = tun_entry("tun11", 7)
OURS = sysctl_entry("net/ipv4/conf/eth0/rp_filter", "1", "2")
RULE = rule_entry(Rule(10, "eth0", TABLE_BASE + 5, 32800, 116))
ROUTE = route_entry(SingleRoute(10, 2, TABLE_BASE + 5, 116, priority=2))


class Place:
    """A runtime directory, settings, and what was deleted by netlink."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.setting = root / "sys" / OURS["path"]
        self.setting.parent.mkdir(parents=True)
        self.journal = root / "run" / "net-1" / "tun11.undo"
        self.deleted: list[Request] = []

    def write(self, content: bytes) -> None:
        self.setting.write_text("2")
        self.deleted.clear()
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        self.journal.write_bytes(content)

    def clean_up(self) -> list[Leftover]:
        return list(leftovers.clean_up())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    found = Place(tmp_path)
    monkeypatch.setattr(leftovers, "runtime_directory", lambda: found.journal.parent)
    monkeypatch.setattr(undo, "SYSCTL", tmp_path / "sys")
    monkeypatch.setattr(undo, "request", found.deleted.append)
    return found


def test_what_ended_processes_left_is_undone_by_the_next_run(place: Place) -> None:
    place.write(b"")
    left = Journal.create(LINUX, place.journal)
    left.write(OURS)
    assert place.clean_up() == [], "a process would still undo it"
    left.close()
    assert place.clean_up() == [Leftover("net/ipv4/conf/eth0/rp_filter = 1")]
    assert place.setting.read_text() == "1"
    assert not place.journal.parent.exists()


def test_what_a_namespace_that_is_gone_has_left_is_not_undone_in_another(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may be used again; the files of its sockets are there all the same."""
    stale = place.journal.with_name("tun11.sock")
    place.write(b"")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    monkeypatch.setattr(undoable, "namespace_identity", lambda: "boot/1")
    left = Journal.create(LINUX, place.journal)
    for entry in (OURS, RULE, ROUTE, socket_entry(str(stale))):
        left.write(entry)
    left.close()
    monkeypatch.setattr(undoable, "namespace_identity", lambda: "boot/2")
    assert place.clean_up() == [Leftover(f"the socket {stale}")]
    assert place.setting.read_text() == "2"
    assert place.deleted == []
    assert not place.journal.parent.exists()


def test_an_old_kernel_names_a_namespace_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "SO_NETNS_COOKIE", 9999)
    number = Path("/proc/self/ns/net").stat().st_ino
    assert namespace_identity().endswith(f"/net-{number}")


def test_what_cannot_be_undone_stays_written_down(place: Place) -> None:
    place.write(as_line(RULE) + as_line(OURS))
    place.setting.unlink()
    place.setting.mkdir()
    refused, undone = place.clean_up()
    assert refused.words == "net/ipv4/conf/eth0/rp_filter = 1"
    assert refused.why is not None
    assert str(place.journal) in refused.why
    assert undone.why is None
    assert place.journal.read_bytes() == b"\n" + as_line(OURS)


def test_an_incomplete_line_is_a_change_never_made(place: Place) -> None:
    place.write(as_line(OURS) + as_line(RULE)[:-9])
    assert place.clean_up() == [Leftover("net/ipv4/conf/eth0/rp_filter = 1")]
    assert not place.journal.exists()


def without(entry: Entry, key: str) -> Entry:
    return {name: value for name, value in entry.items() if name != key}


def of_attributes(entry: Entry, **other: Any) -> Entry:
    return {**entry, "attributes": {**entry["attributes"], **other}}


STRANGE: list[object] = [
    *(None, 7, "sysctl", [], {}, [OURS], {"undo": "frobnicate"}, {"undo": ["sysctl"]}),
    *({"undo": None}, {"undo": "sysctl"}, {"undo": "rule"}, {"undo": "route", "attributes": 5}),
    *(without(OURS, key) for key in OURS),
    *(without(RULE, key) for key in RULE),
    *({**OURS, "path": path} for path in (7, None, "", "/etc/passwd", "../../etc/passwd")),
    *({**OURS, "path": f"net/ipv4/conf/{name}/rp_filter"} for name in ("..", "", "a/b", "a b")),
    *({**OURS, "path": f"net/ipv4/conf/{name}/rp_filter"} for name in ("e\n", "\0", "x" * 16)),
    *({**OURS, "path": path} for path in ("net/ipv4/ip_forward", "kernel/core_pattern")),
    *({**OURS, "before": value} for value in (1, None, "", "3", "1\n", "|/bin/sh", ["1"])),
    *({**OURS, "ours": value} for value in (2, None, "9")),
    {**OURS, "since": "a newer version"},
    *(of_attributes(RULE, **other) for other in ({"protocol": 2}, {"table": 254}, {"x": 1})),
    *(of_attributes(RULE, **other) for other in ({"oifname": ""}, {"oifname": 5}, {"family": 1})),
    *(of_attributes(RULE, priority=value) for value in (True, 32766, -1, 2**40, 32800.0, "32800")),
    *(of_attributes(ROUTE, **other) for other in ({"proto": 4}, {"table": 255}, {"oif": 0})),
    *(of_attributes(ROUTE, **other) for other in ({"dst": "10.0.0.0/8"}, {"oif": 2**31})),
    *(of_attributes(ROUTE, **other) for other in ({"oif": "2"}, {"table": True}, {"family": 10.0})),
    *(tun_entry(name, index) for name, index in (("lo", 1), ("", 7), ("a/b", 7), ("x", True))),
    {**TUN, "more": 1},
    *(socket_entry(path) for path in ("/etc/passwd", "tun11.sock", "", "/run/x.sock")),
]


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: json.dumps(value)[:70])
def test_an_invalid_entry_is_named_and_stays_and_the_rest_is_undone(
    place: Place, value: object
) -> None:
    line = json.dumps(value).encode() + b"\n"
    place.write(as_line(OURS) + line + as_line(RULE))
    rule, strange, setting = place.clean_up()
    assert (rule.why, setting.why) == (None, None)
    assert strange.words == f"{place.journal}:2"
    assert strange.why is not None
    assert "delete the file" in strange.why
    assert place.setting.read_text() == "1"
    assert place.deleted == [delete_rule(recorded_rule(RULE))]
    assert place.journal.read_bytes() == b"\n" + line
    assert place.clean_up() == [strange], "under the same number"


@pytest.mark.parametrize(
    "line",
    [b"{", b"\0\0\0", b"\xff\xfe\x00", b"[" * 100_000, b"1" * 5000, b'"\\ud800"', b"NaN"],
    ids=lambda line: repr(line[:12]),
)
def test_damaged_lines(place: Place, line: bytes) -> None:
    place.write(line + b"\n" + as_line(OURS))
    undone, damaged = place.clean_up()
    assert undone.why is None
    assert damaged.words == f"{place.journal}:1"
    assert damaged.why is not None
    assert len(damaged.why) < 400


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["sysctl", "rule", "route", "socket", "0", "1", "2", OURS["path"]]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["undo", "path", "before", "ours", "inode", "attributes", "table"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)
BYTES = st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode())


def _damaged(draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
    """A good line with some of its bytes changed."""
    line = bytearray(draw(st.sampled_from([as_line(each) for each in (OURS, RULE, ROUTE)])))
    for _ in range(draw(st.integers(1, 3))):
        line[draw(st.integers(0, len(line) - 1))] = draw(st.integers(0, 255))
    return bytes(line)


@FUZZ
@example(b"\n\n\n")
@given(st.lists(BYTES | st.composite(_damaged)(), max_size=4).map(b"\n".join))
def test_entries_before_any_damage_are_undone(place: Place, rubbish: bytes) -> None:
    place.write(as_line(OURS) + rubbish)
    found = place.clean_up()
    assert place.setting.read_text() == "1"
    assert found[-1] == Leftover("net/ipv4/conf/eth0/rp_filter = 1")
    named = [left for left in found if left.why is not None]
    assert place.journal.exists() == bool(named)
    assert all(left.words.startswith(f"{place.journal}:") for left in named)
    place.journal.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "entry", [OURS, RULE, ROUTE, tun_entry("tun11", 7)], ids=lambda entry: entry["undo"]
)
def test_written_entries_can_be_read(entry: Entry, tmp_path: Path) -> None:
    assert parse_entry(as_line(entry), tmp_path) == entry


def test_sockets_in_the_same_directory_are_removed_and_other_files_are_not(place: Place) -> None:
    place.write(b"")
    stale, file = (place.journal.with_name(name) for name in ("tun11.sock", "tun12.sock.77"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    file.write_text("of another program")
    place.write(b"".join(as_line(socket_entry(str(path))) for path in (stale, file)))
    assert [left.why for left in place.clean_up()] == [None, None]
    assert not stale.exists()
    assert file.exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("x")])
def test_what_is_no_file_is_named_and_stays(place: Place, make: Callable[[Path], object]) -> None:
    place.write(as_line(OURS))
    strange = place.journal.with_name("a.undo")
    make(strange)
    named, undone = place.clean_up()
    assert named.words == str(strange)
    assert named.why is not None
    assert undone.why is None


def test_cleanup_reports_both_and_fails(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cleanup, "clean_up", leftovers.clean_up)
    place.write(as_line(OURS) + b'{"undo": "\x1b[2J"}\n')
    assert cleanup.cleanup() == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"could not be undone: {place.journal}:2: ")
    assert "\x1b" not in first
    assert second == "undone: net/ipv4/conf/eth0/rp_filter = 1"
