"""The credentials of a process as xnu keeps them (kern/kern_prot.c, kern/kern_credential.c): the
calls of os that change them, which refuse what the kernel refuses."""

from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from tests.unit.darwin.fake_kernel import refuse

NOBODY = 4_294_967_294
"""-2, as Python tells it."""
MOST_GROUPS = 16
WHEEL, ADMIN = 0, 80


class FakeCredentials:
    """Of root. The first of `groups` is the effective group (sys/ucred.h, cr_gid)."""

    def __init__(self) -> None:
        self.user = self.real_user = self.saved_user = 0
        self.groups = [WHEEL, ADMIN]
        self.real_group = self.saved_group = WHEEL

    def setgroups(self, groups: Sequence[int]) -> None:
        self._check_root()  # 1361
        if len(groups) > MOST_GROUPS:
            raise refuse(errno.EINVAL)
        self.groups = list(groups) or [WHEEL]  # 1366

    def setgid(self, group: int) -> None:
        if group not in (self.real_group, self.saved_group):
            self._check_root()
        if self.user == 0:
            self.real_group = self.saved_group = group
        self.groups[0] = group

    def setuid(self, user: int) -> None:
        if user not in (self.real_user, self.saved_user):
            self._check_root()
        if self.user == 0:
            self.real_user = self.saved_user = user
        self.user = user

    def _check_root(self) -> None:
        if self.user != 0:
            raise refuse(errno.EPERM)

    @property
    def is_root_for_good(self) -> bool:
        return 0 in (self.user, self.real_user, self.saved_user)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> FakeCredentials:
    """Of this process, on a Mac without an account for the router alone."""
    made = FakeCredentials()
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, getattr(made, name))
    monkeypatch.setattr(os, "geteuid", lambda: made.user)

    def found(name: str) -> SimpleNamespace:
        if name != "nobody":
            raise KeyError(name)
        return SimpleNamespace(pw_name=name, pw_uid=NOBODY, pw_gid=NOBODY)

    monkeypatch.setattr(pwd, "getpwnam", found)
    return made
