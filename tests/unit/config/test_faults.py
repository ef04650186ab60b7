"""Files that fail or change while they are read: an error with a remedy, never half of a file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest

from router.config import lists, reading
from router.config.loader import RulesFileUnreadable, load

RULES = "version: 1\nrules:\n  - {file: list.txt, policy: drop}\n"


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.yaml").write_text(RULES)
    Path("list.txt").write_text("10.0.0.0/8\n192.0.2.0/24\n")


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Any], times: int) -> None:
    """Something happens while lists are read, the first times."""
    pieces, left = lists.pieces, [times]

    def read(raw: BufferedReader, *, zipped: bool = False) -> Iterator[list[str]]:
        yield from pieces(raw, zipped=zipped)
        if left[0]:
            left[0] -= 1
            happens()

    monkeypatch.setattr(lists, "pieces", read)


def grow() -> None:
    with Path("list.txt").open("a") as file:
        file.write("198.51.100.0/24\n")


def shrink() -> None:
    os.truncate("list.txt", 4)


def test_a_list_that_grows_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, grow, 1)
    loaded = load("rules.yaml")
    assert loaded.config is not None
    assert loaded.config.rules[0].lists[0].size == 3


@pytest.mark.parametrize("happens", [grow, shrink])
def test_a_list_that_changes_again_and_again(
    monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]
) -> None:
    def change() -> None:
        happens()
        os.utime("list.txt", ns=(0, next(times)))

    times = iter(range(9))
    meanwhile(monkeypatch, change, 9)
    loaded = load("rules.yaml")
    assert loaded.config is None
    problem = next(each for each in loaded.problems if each.code == "file-changed")
    assert problem.as_text(loaded.sources) == (
        "rules.yaml:3:12: error[file-changed]: the list 'list.txt' was written to while it was "
        "read\n"
        "  - {file: list.txt, policy: drop}\n"
        "           ^^^^^^^^\n"
        "help: try again when it is complete; a complete file can replace another at once: 'mv' it"
    )


def test_a_list_that_is_replaced_counts_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("new.txt").write_text("10.0.0.0/8\n")
    meanwhile(monkeypatch, lambda: Path("new.txt").replace("list.txt"), 1)
    loaded = load("rules.yaml")
    assert loaded.config is not None
    assert loaded.config.rules[0].lists[0].size == 2


def test_a_rules_file_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    read_all, sizes = reading._read_all, iter(range(1, 9))

    def read(path: Path, raw: BufferedReader, what: str) -> bytes:
        data = read_all(path, raw, what)
        os.truncate("rules.yaml", len(RULES) + next(sizes))
        return data

    monkeypatch.setattr(reading, "_read_all", read)
    with pytest.raises(RulesFileUnreadable) as caught:
        load("rules.yaml")
    assert [problem.code for problem in caught.value.problems] == ["file-changed"]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("file", ["rules.yaml", "list.txt"])
@pytest.mark.parametrize("call", ["open", "fstat"])
def test_system_calls_that_fail(
    monkeypatch: pytest.MonkeyPatch, number: int, file: str, call: str
) -> None:
    """At each of the times that it is called for a file."""
    original, inode, position = getattr(os, call), Path(file).stat().st_ino, 0
    failed = True
    while failed:
        failed, left = False, [position]

        def fail(what: Any, *rest: Any, left: list[int] = left, **more: Any) -> Any:
            nonlocal failed
            named = str(what) == file if call == "open" else original(what).st_ino == inode
            if named:
                left[0] -= 1
                if left[0] == -1:
                    failed = True
                    raise OSError(number, os.strerror(number), file)
            return original(what, *rest, **more)

        with monkeypatch.context() as patched:
            patched.setattr(os, call, fail)
            try:
                problems = load("rules.yaml").problems
            except RulesFileUnreadable as error:
                problems = error.problems
        assert bool(problems) == failed
        assert all(problem.help for problem in problems)
        position += 1
    assert position > 1
