"""Who can decide what stands in a file: the owners of the file, of the directories on its way and
of the links that lead there, and all who may write to these.

The rule. Root takes orders from root alone and, under sudo, from the user who called it. So the
file, each directory on its way and each link on it must belong to one of these two, and neither
file nor directories may be writable by group or others. Two exceptions: a group that is private to
one of the two (as useradd(8) makes them); a sticky directory, /tmp say, in which nobody can remove
or rename what belongs to others.
Nor does root read for that user what this user could not: where a link, a directory or a rules file
of the user's leads to a file that is not the user's, the user must be able to read it, unless root
has put it there itself (no link leads to it, and it has one name).

Theory of operation. The path is followed component by component, each opened relative to the one
before without following links, and judged by fstat() of what has been opened. So what was judged is
what is read, whatever is renamed meanwhile. Sources: path_resolution(7), open(2), sticky(7).

Always true: no open waits (O_NONBLOCK), and nothing but a regular file is opened for reading.

Must not know: what files are for. Access control lists count as far as the group bits show them.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shlex
import stat
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from router.config.problems import quoted

SEARCH: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
MAXIMUM_LINKS: Final = 40
"""On one way, as in Linux (path_resolution(7))."""
MAXIMUM_SHOWN: Final = 4096
"""Characters of a path in a message."""
ROOT: Final = 0


class Reader(NamedTuple):
    """Who reads. `user`: the one who gives the orders; `is_root`: whether with the rights of root,
    so that what others can write must not be read."""

    user: int
    is_root: bool


class Fault(NamedTuple):
    """One thing that lets others decide what stands in a file."""

    what: str
    remedy: str


class NotRegularError(Exception):
    """`str` of it says what the file is instead."""


class Followed(NamedTuple):
    """A regular file, opened. `by_user`: whether it may hold what a user other than root has
    chosen."""

    descriptor: int
    faults: tuple[Fault, ...]
    by_user: bool


def this_reader(environment: Mapping[str, str]) -> Reader:
    """This process, which sudo(8) may have started."""
    user = os.geteuid()
    if user != ROOT:
        return Reader(user, is_root=False)
    invoker = environment.get("SUDO_UID", "")
    is_number = invoker.isascii() and invoker.isdecimal() and len(invoker) <= 10
    return Reader(int(invoker) if is_number else ROOT, is_root=True)


def follow(path: str, reader: Reader, *, named_by_user: bool = False) -> Followed:
    """Open a regular file. `named_by_user`: the path stands in a file that is not root's.

    Raises OSError, ValueError for what can be no path, and NotRegularError.
    """
    way = _Way(reader, named_by_user=named_by_user)
    try:
        descriptor = way.follow(path)
    finally:
        way.close()
    return Followed(descriptor, tuple(dict.fromkeys(way.faults)), way.by_user)


def check_regular(found: os.stat_result) -> None:
    """Raises NotRegularError."""
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        raise NotRegularError("is a directory")
    kinds = ((stat.S_ISFIFO, "FIFO"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"))
    kind = next((name for test, name in kinds if test(found.st_mode)), "device")
    raise NotRegularError(f"is not a regular file but a {kind}")


class _Way:
    """The way to one file. `_named` is where it has come to, as text."""

    def __init__(self, reader: Reader, *, named_by_user: bool) -> None:
        self.faults: list[Fault] = []
        self.by_user = named_by_user
        self._user = reader.user
        self._trusted = frozenset((ROOT, reader.user))
        self._by_link = named_by_user
        self._readable = True
        self._is_shared = False  # whether the directory is one in which others may make names
        self._links = 0
        self._named: list[str] = []
        self._directory = -1

    def close(self) -> None:
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def follow(self, path: str) -> int:
        pending = _components(path if path.startswith("/") else f"{os.getcwd()}/{path}")  # noqa: PTH109
        self._begin_at_root()
        while pending:
            name = pending.pop()
            found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                pending += self._link(name, found)
            elif pending or stat.S_ISDIR(found.st_mode):
                self._enter(name)
            else:
                return self._open(name, found)
        raise NotRegularError("is a directory")

    def _begin_at_root(self) -> None:
        self._move(os.open("/", SEARCH))
        self._named = []
        self._readable = True
        self._judge_directory()

    def _enter(self, name: str) -> None:
        self._move(os.open(name, SEARCH, dir_fd=self._directory))
        self._named = self._named[:-1] if name == ".." else [*self._named, name]
        self._judge_directory()

    def _move(self, descriptor: int) -> None:
        self.close()
        self._directory = descriptor

    def _link(self, name: str, found: os.stat_result) -> list[str]:
        """The components that a link stands for."""
        self._links += 1
        if self._links > MAXIMUM_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target = os.readlink(name, dir_fd=self._directory)
        if self._judge_owner(f"the link {self._quoted(name)}", "chown -h", name, found):
            self.by_user = self._by_link = True
        if target.startswith("/"):
            self._begin_at_root()
        return _components(target)

    def _open(self, name: str, seen: os.stat_result) -> int:
        check_regular(seen)
        descriptor = os.open(name, READ | os.O_NOFOLLOW, dir_fd=self._directory)
        try:
            found = os.fstat(descriptor)
            check_regular(found)
            self._judge_file(name, found)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    # Judging

    def _judge_directory(self) -> None:
        found = os.fstat(self._directory)
        what = f"the directory {self._quoted()}"
        self.by_user |= self._judge_owner(what, "chown", "", found)
        self._readable &= self._is_allowed(found, stat.S_IXOTH)
        self._is_shared = bool(found.st_mode & stat.S_ISVTX and self._writers(found))
        if not self._is_shared:
            self._judge_writers(what, "", found)

    def _judge_file(self, name: str, found: os.stat_result) -> None:
        what = f"the file {self._quoted(name)}"
        by_others = self.by_user or self._is_shared
        is_placed = self._by_link or (by_others and found.st_nlink > 1)
        self.by_user |= self._judge_owner(what, "chown", name, found)
        self._judge_writers(what, name, found)
        if is_placed and not (self._readable and self._is_allowed(found, stat.S_IROTH)):
            self._add(
                f"{what} may not be read by {account_name(self._user)}, who has it read",
                f"chmod o+r {self._word(name)} and its directories o+x, or name another file",
            )

    def _judge_owner(self, what: str, command: str, name: str, found: os.stat_result) -> bool:
        """Whether something is not root's."""
        if found.st_uid not in self._trusted:
            remedy = f"{command} {account_name(self._user)} {self._word(name)}"
            elsewhere = "" if name else ", or keep the file elsewhere, as in /etc/tunrouter"
            self._add(f"{what} belongs to {account_name(found.st_uid)}", remedy + elsewhere)
        return found.st_uid != ROOT

    def _judge_writers(self, what: str, name: str, found: os.stat_result) -> None:
        if writers := self._writers(found):
            whose, change = writers
            self._add(f"{what} can be written by {whose}", f"chmod {change} {self._word(name)}")

    def _writers(self, found: os.stat_result) -> tuple[str, str] | None:
        """Others who may write to something, and what chmod(1) takes to keep them from it."""
        if found.st_mode & stat.S_IWOTH:
            return "everybody", "go-w"
        if found.st_mode & stat.S_IWGRP and not _is_private(found.st_gid, self._trusted):
            return f"the group {_group_name(found.st_gid)}", "g-w"
        return None

    def _is_allowed(self, found: os.stat_result, others: int) -> bool:
        """Whether the user has a right that `others` is the bit of."""
        if self._user != ROOT and found.st_uid == self._user:
            return True
        of_group = found.st_mode & others << 3 and found.st_gid in _groups(self._user)
        return bool(found.st_mode & others or of_group)

    def _add(self, what: str, remedy: str) -> None:
        self.faults.append(Fault(what, remedy))

    def _quoted(self, name: str = "") -> str:
        return quoted(self._text(name), limit=MAXIMUM_SHOWN)

    def _word(self, name: str) -> str:
        return shlex.quote(self._text(name))

    def _text(self, name: str) -> str:
        return "/" + "/".join([*self._named, name] if name else self._named)


def account_name(user: int) -> str:
    """Its number where the system has no name for it."""
    try:
        return pwd.getpwuid(user).pw_name
    except (KeyError, OverflowError):
        return str(user)


def _group_name(group: int) -> str:
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


@lru_cache
def _groups(user: int) -> frozenset[int]:
    """Those that a user other than root is in."""
    try:
        entry = pwd.getpwuid(user)
        return frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid) if user != ROOT else ())
    except (KeyError, OverflowError, OSError):
        return frozenset()


@lru_cache
def _is_private(group: int, users: frozenset[int]) -> bool:
    """Whether a group is that of one of some users, by its name, and has no other members."""
    try:
        entry = grp.getgrgid(group)
    except KeyError:
        return False
    names = {account_name(user) for user in users}
    return entry.gr_name in names and names.issuperset(entry.gr_mem)


def _components(path: str) -> list[str]:
    """Those of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]
