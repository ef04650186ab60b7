"""The account that the router runs as (setuid(2), initgroups(3))."""

from __future__ import annotations

import os
import pwd
import sys
from typing import Final, NamedTuple

from router.config.schema import DEFAULT_USER
from router.platform.base.errors import PlatformError

NOBODY: Final = 65534
"""Of systems without a file of accounts: the kernel's own overflow user."""


OWN_ACCOUNT: Final = "tunrouter"
"""For the router alone, where the system has it: processes of an account that others use too may
signal and renice it."""


class Account(NamedTuple):
    name: str
    user: int
    group: int


def find_account(name: str) -> Account | None:
    """None if the system has none of that name."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return Account(name, NOBODY, NOBODY) if name == DEFAULT_USER else None
    return Account(name, entry.pw_uid, entry.pw_gid)


def usual_account() -> str:
    """The name of the one that the router runs as where the rules name none."""
    try:
        return pwd.getpwnam(OWN_ACCOUNT).pw_name
    except KeyError:
        return DEFAULT_USER


def become(name: str, group: int | None = None) -> None:
    """Give up the rights of root for those of an account, for good; nothing happens if it is root
    itself. group: the only one; None: that of the account. Raises PlatformError.

    In this order: only root may do the first two, and of no groups macOS makes the effective one
    that of root (kern/kern_prot.c:1366), which the second replaces."""
    account = find_account(name)
    if account is None:
        how = f" (useradd --system {name})" if sys.platform == "linux" else ""
        raise PlatformError(f"there is no user {name}: create one{how}, or change 'user:'")
    if account.user == os.geteuid():
        return
    try:
        os.setgroups([])
        os.setgid(account.group if group is None else group)
        os.setuid(account.user)  # of root: the saved one too
    except OSError as error:
        raise PlatformError(
            f"the router cannot become the user {name} here ({error.strerror}): "
            "write 'user: root' into the rules if it is to keep the rights of root"
        ) from error
