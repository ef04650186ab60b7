"""How this program is called from a shell of this machine, for messages with commands to copy.

A virtual environment or pipx's directory need not be in the user's PATH, and is not in sudo's.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Final

NAME: Final = "tunrouter"
SUDO_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where sudo looks (secure_path of Debian, Ubuntu and Fedora)."""


def by_user(program: str) -> str:
    """The word that runs `program`, the argv[0] of this process: its name where PATH leads to it,
    else its path."""
    return _word(program, os.environ.get("PATH", os.defpath))


def by_root(program: str, *, is_root: bool) -> str:
    """Likewise for root, by sudo where the user is another one."""
    return by_user(program) if is_root else f"sudo {_word(program, SUDO_PATH)}"


def _word(program: str, path: str) -> str:
    if Path(program).name != NAME:  # by `python -m router.cli`
        return NAME
    found = shutil.which(NAME, path=path)
    is_found = found is not None and Path(found).samefile(program)
    return NAME if is_found else shlex.quote(program)
