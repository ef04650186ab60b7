"""Builds the Debian package, from what is installed here: nothing is fetched.

Usage: python -m scripts.deb DIRECTORY [--version VERSION] [--fast]
  DIRECTORY   where the .deb is put
  --version   another one than the program's: for tests of upgrades
  --fast      compress little
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from router import __version__
from scripts.deb.bundle import NotBundledError
from scripts.deb.tree import RULES, SOURCE, make_tree

MAINTAINER_SCRIPTS: Final = ("postinst", "prerm", "postrm")


def main() -> int:
    """The exit status."""
    arguments = argparse.ArgumentParser(prog="python -m scripts.deb")
    arguments.add_argument("directory", type=Path)
    arguments.add_argument("--version", default=__version__)
    arguments.add_argument("--fast", action="store_true")
    given = arguments.parse_args()
    if shutil.which("dpkg-deb") is None:
        print("scripts.deb: error: there is no dpkg-deb: install dpkg", file=sys.stderr)
        return 1
    given.directory.mkdir(parents=True, exist_ok=True)
    file = given.directory / f"tunrouter_{given.version}_all.deb"
    date = time.strftime(
        "%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    )
    with TemporaryDirectory(prefix="tunrouter-deb-") as name:
        root = Path(name) / "root"
        root.mkdir()
        try:
            make_tree(root, date)
        except NotBundledError as error:
            print(f"scripts.deb: error: {error}", file=sys.stderr)
            return 1
        _add_control(root, given.version)
        for each in root.rglob("*"):
            if each.is_dir():
                each.chmod(0o755)
        root.chmod(0o755)
        compression = ("-Zgzip", "-z1") if given.fast else ("-Zxz",)
        command = ("dpkg-deb", "--root-owner-group", *compression, "--build", str(root), str(file))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(file)
    return 0


def _add_control(root: Path, version: str) -> None:
    """What dpkg reads: deb-control(5), deb-conffiles(5), deb-md5sums(5), and the scripts."""
    files = sorted(each for each in root.rglob("*") if each.is_file() and not each.is_symlink())
    size = sum(each.stat().st_size for each in files) // 1024
    sums = [
        f"{_md5(each)}  {each.relative_to(root)}\n" for each in files if each != root / RULES[1:]
    ]
    control = root / "DEBIAN"
    control.mkdir()
    text = (SOURCE / "control").read_text(encoding="utf-8")
    (control / "control").write_text(
        text.replace("@VERSION@", version).replace("@SIZE@", str(size)), encoding="utf-8"
    )
    (control / "conffiles").write_text(f"{RULES}\n", encoding="utf-8")
    (control / "md5sums").write_text("".join(sums), encoding="utf-8")
    for name in MAINTAINER_SCRIPTS:
        shutil.copyfile(SOURCE / name, control / name)
        (control / name).chmod(0o755)


def _md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
