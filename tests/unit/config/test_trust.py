"""Whose files root reads. The owners are simulated: fstat() is asked, and the test answers.

The tree of the tests, as root sees it; alice has called sudo, mallory is somebody else.

    /etc (root)                 rules.yaml
    /home/alice (alice)         rules.yaml  lists/lan.txt
    /srv (root, mode 0777)      shared.txt
    /tmp (root, sticky, 1777)   by-root.txt  by-mallory.txt
    /secret (root, mode 0700)   shadow (mode 0600)  public.txt (mode 0644)
"""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from router.config import trust
from router.config.loader import Loaded, RulesFileUnreadable, load
from router.config.problems import Severity
from router.config.trust import Fault, NotRegularError, Reader, follow, this_reader

ROOT, ALICE, MALLORY = 0, 4001, 4002
NAMES = {ROOT: "root", ALICE: "alice", MALLORY: "mallory"}
SUDO = Reader(ALICE, is_root=True)
AS_ROOT = Reader(ROOT, is_root=True)
AS_ALICE = Reader(ALICE, is_root=False)

SECRET = "root:$y$j9T$secret:19000:0:99999:7:::"
LAN = "10.0.0.0/8\n"
RULES = "version: 1\nrules:\n  - {file: FILE, policy: drop}\n"


class Tree:
    """Files below a directory that stands for `/`, with owners, modes and groups as told."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.owners: dict[tuple[int, int], int] = {}
        self.groups: dict[tuple[int, int], int] = {}

    def directory(self, name: str, owner: int = ROOT, mode: int = 0o755) -> None:
        (self.top / name).mkdir(parents=True)
        (self.top / name).chmod(mode)
        self.own(name, owner)

    def file(self, name: str, text: str, owner: int = ROOT, mode: int = 0o644) -> None:
        (self.top / name).write_text(text)
        (self.top / name).chmod(mode)
        self.own(name, owner)

    def link(self, name: str, target: str, owner: int = ROOT) -> None:
        (self.top / name).symlink_to(f"{self.top}{target}" if target[0] == "/" else target)
        self.own(name, owner)

    def own(self, name: str, owner: int, group: int = 0) -> None:
        found = _lstat(self.top / name)
        self.owners[found.st_dev, found.st_ino] = owner
        self.groups[found.st_dev, found.st_ino] = group

    def seen(self, found: os.stat_result) -> os.stat_result:
        identity = found.st_dev, found.st_ino
        fields: list[Any] = list(found[:10])
        fields[stat.ST_UID] = self.owners.get(identity, ROOT)
        fields[stat.ST_GID] = self.groups.get(identity, ROOT)
        if identity not in self.owners:  # the directories above the tree
            fields[stat.ST_MODE] = stat.S_IFDIR | 0o755
        return os.stat_result(fields, {"st_mtime_ns": found.st_mtime_ns})

    def follow(self, name: str, reader: Reader = SUDO, *, named: bool = False) -> list[str]:
        """The faults."""
        followed = follow(str(self.top / name), reader, named_by_user=named)
        os.close(followed.descriptor)
        return [shown(each, self.top) for each in followed.faults]

    def load(self, name: str, reader: Reader) -> Loaded:
        return load(self.top / name, reader=reader)


def _lstat(path: Path) -> os.stat_result:
    return os.lstat(path)


def shown(fault: Fault, top: Path) -> str:
    return f"{fault.what}; {fault.remedy}".replace(str(top), "")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    made = Tree(tmp_path.resolve())
    made.directory("etc")
    made.file("etc/rules.yaml", RULES.replace("FILE", str(made.top / "etc/lan.txt")))
    made.file("etc/lan.txt", LAN)
    made.directory("home/alice/lists", ALICE)
    made.own("home/alice", ALICE)
    made.own("home", ROOT)
    made.file("home/alice/lists/lan.txt", LAN, ALICE)
    made.file("home/alice/rules.yaml", RULES.replace("FILE", "lists/lan.txt"), ALICE)
    made.directory("srv", mode=0o777)
    made.file("srv/shared.txt", LAN)
    made.directory("tmp", mode=0o1777)
    made.file("tmp/by-root.txt", LAN)
    made.file("tmp/by-mallory.txt", LAN, MALLORY)
    made.directory("secret", mode=0o700)
    made.file("secret/shadow", SECRET, mode=0o600)
    made.file("secret/public.txt", LAN)
    with monkeypatch.context() as patched:
        fstat, status = os.fstat, os.stat
        patched.setattr(os, "fstat", lambda descriptor: made.seen(fstat(descriptor)))
        patched.setattr(os, "stat", lambda *a, **kw: made.seen(status(*a, **kw)))
        patched.setattr(trust, "account_name", lambda user: NAMES.get(user, str(user)))
        yield made


@pytest.mark.parametrize("reader", [SUDO, AS_ROOT, AS_ALICE])
def test_what_root_owns_is_read_by_everybody(tree: Tree, reader: Reader) -> None:
    assert tree.follow("etc/rules.yaml", reader) == []
    assert tree.follow("tmp/by-root.txt", reader) == []


def test_what_the_user_who_called_sudo_owns_is_read(tree: Tree) -> None:
    assert tree.follow("home/alice/rules.yaml") == []
    assert tree.follow("home/alice/lists/lan.txt", named=True) == []
    assert tree.follow("home/alice/lists/../rules.yaml") == []
    loaded = tree.load("home/alice/rules.yaml", SUDO)
    assert loaded.config is not None
    assert loaded.problems == []


def test_root_itself_takes_no_orders_from_others(tree: Tree) -> None:
    assert tree.follow("home/alice/lists/lan.txt", AS_ROOT) == [
        "the directory '/home/alice' belongs to alice; chown root /home/alice, "
        "or keep the file elsewhere, as in /etc/tunrouter",
        "the directory '/home/alice/lists' belongs to alice; chown root /home/alice/lists, "
        "or keep the file elsewhere, as in /etc/tunrouter",
        "the file '/home/alice/lists/lan.txt' belongs to alice; "
        "chown root /home/alice/lists/lan.txt",
    ]


def test_a_directory_that_everybody_can_write(tree: Tree) -> None:
    assert tree.follow("srv/shared.txt") == [
        "the directory '/srv' can be written by everybody; chmod go-w /srv"
    ]


def test_a_file_that_everybody_can_write(tree: Tree) -> None:
    tree.file("etc/open.txt", LAN, mode=0o666)
    assert tree.follow("etc/open.txt") == [
        "the file '/etc/open.txt' can be written by everybody; chmod go-w /etc/open.txt"
    ]


def test_another_users_file_in_a_sticky_directory(tree: Tree) -> None:
    assert tree.follow("tmp/by-mallory.txt") == [
        "the file '/tmp/by-mallory.txt' belongs to mallory; chown alice /tmp/by-mallory.txt"
    ]


def test_another_users_link(tree: Tree) -> None:
    tree.link("tmp/list.txt", "/etc/lan.txt", MALLORY)
    assert tree.follow("tmp/list.txt") == [
        "the link '/tmp/list.txt' belongs to mallory; chown -h alice /tmp/list.txt"
    ]


def test_a_name_that_a_shell_would_not_take_is_quoted(tree: Tree) -> None:
    tree.file("etc/a {b} $c", LAN, MALLORY)
    assert tree.follow("etc/a {b} $c") == [
        "the file '/etc/a {b} $c' belongs to mallory; chown alice '/etc/a {b} $c'"
    ]


class Group:
    def __init__(self, name: str, *members: str) -> None:
        self.gr_name, self.gr_mem = name, list(members)


@pytest.mark.parametrize(
    ("group", "faults"),
    [
        (Group("alice"), []),
        (Group("alice", "alice"), []),
        (Group("alice", "mallory"), ["the group alice"]),
        (Group("staff"), ["the group staff"]),
    ],
    ids=["private", "private, listed", "shared", "of several"],
)
def test_a_group_that_is_private_to_the_user_may_write(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, group: Group, faults: list[str]
) -> None:
    number = 5000 + id(group) % 1000
    monkeypatch.setattr(grp, "getgrgid", lambda _: group)
    trust._is_private.cache_clear()
    tree.file("home/alice/list.txt", LAN, mode=0o664)
    tree.own("home/alice/list.txt", ALICE, number)
    assert tree.follow("home/alice/list.txt") == [
        f"the file '/home/alice/list.txt' can be written by {each}; chmod g-w /home/alice/list.txt"
        for each in faults
    ]
    trust._is_private.cache_clear()


# What the user could not read


def test_a_link_of_the_users_to_what_only_root_may_read(tree: Tree) -> None:
    tree.link("home/alice/lists/link.txt", "/secret/shadow", ALICE)
    (fault,) = tree.follow("home/alice/lists/link.txt")
    assert fault.startswith("the file '/secret/shadow' may not be read by alice, who has it read")


def test_the_rules_of_a_user_that_name_what_only_root_may_read(tree: Tree) -> None:
    (fault,) = tree.follow("secret/shadow", named=True)
    assert "may not be read by alice" in fault
    (fault,) = tree.follow("secret/public.txt", named=True)  # in a directory that is closed to her
    assert "may not be read by alice" in fault
    assert tree.follow("etc/lan.txt", named=True) == []
    assert tree.follow("secret/shadow") == []  # named on the command line


def test_a_hard_link_of_the_users_to_what_only_root_may_read(tree: Tree) -> None:
    os.link(tree.top / "secret/shadow", tree.top / "home/alice/hard.txt")
    (fault,) = tree.follow("home/alice/hard.txt")
    assert "may not be read by alice" in fault


def test_a_hard_link_in_a_sticky_directory(tree: Tree) -> None:
    os.link(tree.top / "secret/shadow", tree.top / "tmp/hard.txt")
    for reader in (SUDO, AS_ROOT):
        (fault,) = tree.follow("tmp/hard.txt", reader)
        assert "may not be read by" in fault


def test_a_closed_directory_of_roots_in_a_sticky_one(tree: Tree) -> None:
    tree.directory("tmp/own", mode=0o700)
    tree.file("tmp/own/lan.txt", LAN, mode=0o600)
    tree.file("tmp/own/rules.yaml", RULES.replace("FILE", "lan.txt"), mode=0o600)
    for reader in (SUDO, AS_ROOT):
        assert tree.load("tmp/own/rules.yaml", reader).problems == []


def test_a_file_that_root_has_put_into_the_users_directory(tree: Tree) -> None:
    tree.file("home/alice/by-root.yaml", RULES, mode=0o600)
    assert tree.follow("home/alice/by-root.yaml") == []


def test_a_users_link_to_what_everybody_may_read(tree: Tree) -> None:
    tree.link("home/alice/rules.link", "/etc/rules.yaml", ALICE)
    assert tree.follow("home/alice/rules.link") == []


def test_a_users_relative_link_within_a_closed_home(tree: Tree) -> None:
    (tree.top / "home/alice").chmod(0o700)
    tree.link("home/alice/lists/other.txt", "../lists/lan.txt", ALICE)
    assert tree.follow("home/alice/lists/other.txt") == []


@pytest.mark.parametrize("reader", [SUDO, AS_ROOT])
@pytest.mark.parametrize("by", ["link", "hard link", "rules"])
def test_the_lines_of_such_a_file_appear_nowhere(tree: Tree, reader: Reader, by: str) -> None:
    lan = tree.top / "home/alice/lists/lan.txt"
    if by == "rules":
        tree.file(
            "home/alice/rules.yaml", RULES.replace("FILE", f"{tree.top}/secret/shadow"), ALICE
        )
    else:
        lan.unlink()
        if by == "link":
            tree.link("home/alice/lists/lan.txt", "/secret/shadow", ALICE)
        else:
            os.link(tree.top / "secret/shadow", lan)
    try:
        loaded = tree.load("home/alice/rules.yaml", reader)
    except RulesFileUnreadable as error:
        loaded = Loaded(problems=error.problems)
    assert loaded.config is None
    assert {problem.code for problem in loaded.problems} == {"untrusted-file"}
    text = "".join(
        f"{problem.as_text(loaded.sources)}{problem.as_line()}{problem.as_github()}"
        f"{problem.as_json()}"
        for problem in loaded.problems
    )
    assert "secret:" not in text


def test_a_list_that_becomes_a_link_before_its_problems_are_shown(tree: Tree) -> None:
    """The line behind a problem may be read again for the report."""
    tree.file("home/alice/lists/lan.txt", "10.0.0.0/8\n10.0.0.0/8\n", ALICE)
    loaded = tree.load("home/alice/rules.yaml", SUDO)
    (problem,) = loaded.problems
    assert problem.code == "duplicate-cidr"
    (tree.top / "home/alice/lists/lan.txt").unlink()
    (tree.top / "secret/shadow").write_text(f"{SECRET}\n{SECRET}\n")
    tree.link("home/alice/lists/lan.txt", "/secret/shadow", ALICE)
    loaded.sources._lines.clear()
    assert "secret:" not in problem.as_text(loaded.sources)


# As errors, and as warnings


def test_root_refuses_a_list_with_place_and_remedy(tree: Tree) -> None:
    tree.file("etc/lan.txt", LAN, MALLORY)
    loaded = tree.load("etc/rules.yaml", AS_ROOT)
    assert loaded.config is None
    (problem,) = loaded.problems
    assert problem.as_text(loaded.sources).replace(str(tree.top), "TOP") == (
        "TOP/etc/rules.yaml:3:12: error[untrusted-file]: "
        "the file 'TOP/etc/lan.txt' belongs to mallory\n"
        "  - {file: TOP/etc/lan.txt, policy: drop}\n"
        f"           {'^' * len(f'{tree.top}/etc/lan.txt')}\n"
        "help: chown root TOP/etc/lan.txt"
    )


def test_root_refuses_a_rules_file_with_all_that_is_wrong(tree: Tree) -> None:
    tree.file("srv/rules.yaml", RULES, MALLORY, 0o666)
    with pytest.raises(RulesFileUnreadable) as caught:
        tree.load("srv/rules.yaml", AS_ROOT)
    assert [problem.code for problem in caught.value.problems] == ["untrusted-file"] * 3
    assert {problem.severity for problem in caught.value.problems} == {Severity.ERROR}


def test_another_user_gets_warnings_and_the_plan(tree: Tree) -> None:
    """`check` without root: what `sudo tunrouter run` by the same user would refuse."""
    tree.file("etc/lan.txt", LAN, MALLORY)
    (tree.top / "etc").chmod(0o777)
    loaded = tree.load("etc/rules.yaml", AS_ALICE)
    assert loaded.config is not None
    assert [(problem.code, problem.severity) for problem in loaded.problems] == [
        ("untrusted-file", Severity.WARNING)
    ] * len(loaded.problems)
    messages = [problem.message.replace(str(tree.top), "") for problem in loaded.problems]
    assert messages.count("the file '/etc/lan.txt' belongs to mallory: 'run' will refuse it") == 1
    assert any("'/etc' can be written by everybody" in message for message in messages)


def test_a_common_fault_of_many_lists_is_reported_once(tree: Tree) -> None:
    names = [f"{tree.top}/srv/{number}.txt" for number in range(9)]
    for name in names:
        Path(name).write_text(f"10.{name[-5]}.0.0/16\n")
        tree.own(name, ROOT)
    tree.file("etc/rules.yaml", RULES.replace("FILE", f"[{', '.join(names)}]"))
    (problem,) = tree.load("etc/rules.yaml", AS_ROOT).problems
    assert problem.help == f"chmod go-w {tree.top}/srv"


# Who reads


@pytest.mark.parametrize(
    ("effective", "environment", "reader"),
    [
        (0, {}, Reader(0, True)),
        (0, {"SUDO_UID": "1000"}, Reader(1000, True)),
        (0, {"SUDO_UID": "0"}, Reader(0, True)),
        (0, {"SUDO_UID": "-1"}, Reader(0, True)),
        (0, {"SUDO_UID": "٣"}, Reader(0, True)),
        (1000, {}, Reader(1000, False)),
        (1000, {"SUDO_UID": "1001"}, Reader(1000, False)),
    ],
)
def test_who_reads(
    monkeypatch: pytest.MonkeyPatch, effective: int, environment: dict[str, str], reader: Reader
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: effective)
    assert this_reader(environment) == reader


# What is replaced between the look at it and its opening


@contextmanager
def replaced_after_a_look(path: Path, replace: Callable[[], None]) -> Iterator[None]:
    """Once `path` has been looked at, it is another thing, made by `replace`."""
    status, pending = os.stat, [replace]

    def look(name: str, *rest: Any, **options: Any) -> os.stat_result:
        found = status(name, *rest, **options)
        if name == path.name and pending:
            path.rename(path.with_name("former"))
            pending.pop()()
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "stat", look)
        yield


def test_a_file_that_becomes_a_link(tree: Tree) -> None:
    path = tree.top / "tmp/by-root.txt"
    with (
        replaced_after_a_look(path, lambda: path.symlink_to(tree.top / "secret/shadow")),
        pytest.raises(OSError, match=os.strerror(errno.ELOOP)),
    ):
        tree.follow("tmp/by-root.txt")


def test_a_directory_that_becomes_a_link(tree: Tree) -> None:
    tree.directory("tmp/lists")
    tree.file("tmp/lists/shadow", LAN)
    path = tree.top / "tmp/lists"
    with (
        replaced_after_a_look(path, lambda: path.symlink_to(tree.top / "secret")),
        pytest.raises(OSError, match=r"Not a directory|Too many"),
    ):
        tree.follow("tmp/lists/shadow")


def test_a_file_that_becomes_a_fifo(tree: Tree) -> None:
    """No open waits for a writer."""
    path, opened = tree.top / "tmp/by-root.txt", os.open

    def replace() -> None:
        os.mkfifo(path)
        tree.own("tmp/by-root.txt", ROOT)

    def open_at_once(name: str, flags: int, *rest: Any, **options: Any) -> int:
        assert name != path.name or flags & os.O_NONBLOCK
        return opened(name, flags, *rest, **options)

    with (
        replaced_after_a_look(path, replace),
        pytest.MonkeyPatch.context() as patched,
        pytest.raises(NotRegularError, match="FIFO"),
    ):
        patched.setattr(os, "open", open_at_once)
        tree.follow("tmp/by-root.txt")


# What is no file


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        for name, kind in [
            ("fifo", "is not a regular file but a FIFO"),
            ("socket", "is not a regular file but a socket"),
            ("/dev/null", "is not a regular file but a device"),
            (".", "is a directory"),
            ("/", "is a directory"),
        ]:
            with pytest.raises(NotRegularError) as caught:
                follow(str(tmp_path / name), AS_ROOT)
            assert str(caught.value) == kind
            with pytest.raises(RulesFileUnreadable, match=kind):
                load(tmp_path / name)
            if name != "/":
                (tmp_path / "rules.yaml").write_text(RULES.replace("FILE", name))
                (problem,) = load(tmp_path / "rules.yaml").problems
                assert problem.code == "unreadable-list"
                assert kind in problem.message


@pytest.mark.parametrize("name", ["etc/loop", "etc/absent", "etc/lan.txt/x", "absent/x"])
def test_a_path_that_leads_nowhere_leaves_no_descriptor_open(tree: Tree, name: str) -> None:
    tree.link("etc/loop", "loop")
    before = os.dup(0)
    os.close(before)
    with pytest.raises(OSError, match=r"Too many|No such|Not a directory"):
        tree.follow(name)
    after = os.dup(0)
    os.close(after)
    assert after == before
