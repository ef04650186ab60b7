"""The files of the .deb.

    /etc/tunrouter/rules.yaml              the rules, a conffile: without any, nothing is captured
    /usr/bin/tunrouter
    /usr/lib/tunrouter                     a virtual environment: Debian's Python, our libraries
    /usr/lib/systemd/system                the unit, as `tunrouter service systemd` prints it
    /usr/share                             completion, manual pages, documents

Always true: what comes from the program (unit, completion, manual pages) is made by it, not kept a
second time.
"""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Final

from router.cli.completion.command import SCRIPTS
from router.cli.completion.tree import read
from router.cli.parser import parser
from router.cli.service import systemd_unit
from scripts import manual
from scripts.deb.bundle import copy_libraries

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "packaging/deb"
PROGRAM: Final = "/usr/bin/tunrouter"
RULES: Final = "/etc/tunrouter/rules.yaml"
HOME: Final = "usr/lib/tunrouter"
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
"""Those that look for the libraries; each has a directory of its own name."""
COMPLETIONS: Final = {
    "bash": "usr/share/bash-completion/completions/tunrouter",
    "zsh": "usr/share/zsh/vendor-completions/_tunrouter",
    "fish": "usr/share/fish/vendor_completions.d/tunrouter.fish",
}


def make_tree(root: Path, date: str) -> None:
    """All of them below `root`, which is empty. date: that of the manual pages, ISO 8601."""
    _environment(root / HOME)
    _write(root / PROGRAM[1:], (SOURCE / "tunrouter").read_text(encoding="utf-8"), 0o755)
    shutil.copyfile(SOURCE / "rules.yaml", _made(root / RULES[1:]))
    _, _, unit = systemd_unit([PROGRAM], RULES).partition("[Unit]\n")
    _write(root / "usr/lib/systemd/system/tunrouter.service", f"[Unit]\n{unit}")
    for shell, path in COMPLETIONS.items():
        _write(root / path, SCRIPTS[shell](read(parser())))
    for name, text in manual.pages(date).items():
        _compress(root / f"usr/share/man/man{name[-1]}/{name}.gz", text)
    documents = root / "usr/share/doc/tunrouter"
    shutil.copyfile(SOURCE / "copyright", _made(documents / "copyright"))
    shutil.copyfile(ROOT / "rules.example.yaml", documents / "rules.example.yaml")
    _compress(documents / "changelog.gz", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def _environment(home: Path) -> None:
    """A virtual environment, PEP 405, that also sees Debian's packages: PyYAML is one."""
    libraries = home / "lib/python3/site-packages"
    libraries.mkdir(parents=True)
    copy_libraries((ROOT / "requirements/run.lock").read_text(encoding="utf-8"), libraries)
    shutil.copytree(
        ROOT / "router", libraries / "router", ignore=shutil.ignore_patterns("__pycache__")
    )
    for version in PYTHONS:
        (home / f"lib/python{version}").symlink_to("python3")
    (home / "bin").mkdir()
    (home / "bin/python3").symlink_to("/usr/bin/python3")
    _write(home / "pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = true\n")


def _made(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _write(file: Path, text: str, mode: int = 0o644) -> None:
    _made(file).write_text(text, encoding="utf-8")
    file.chmod(mode)


def _compress(file: Path, text: str) -> None:
    """Without a date, so that the same text gives the same file."""
    _made(file).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
