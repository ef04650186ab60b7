"""Root directories of Debian releases, made once by debootstrap from Debian's own mirror, and kept.

Always true: a directory that is there is complete; nothing is written into it afterwards. What
debootstrap mounts below it is gone with the process, however that ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

KEPT: Final = Path(os.environ.get("TUNROUTER_DEBIAN_ROOTS", "/var/cache/tunrouter-debian"))
MIRROR: Final = "http://deb.debian.org/debian"
RELEASES: Final = {"12": "bookworm", "13": "trixie"}
"""Those that `make deb` is for."""
OF_A_MACHINE: Final = ("python3", "python3-yaml", "man-db", "systemd")
"""What the package needs and what is looked at after its installation."""
OWN_MOUNTS: Final = ("unshare", "--mount", "--propagation=private")
TIMEOUT_S: Final = 1800.0


def machine_root(release: str) -> Path:
    """A small machine of a release, such as `12`: the package can be installed without network."""
    return _made(release, RELEASES[release], f"--include={','.join(OF_A_MACHINE)}")


def image_root(release: str) -> Path:
    """What the image debian:RELEASE-slim has, and its documentation."""
    return _made(release, f"{RELEASES[release]}-slim")


def _made(release: str, name: str, *options: str) -> Path:
    root = KEPT / name
    if not root.exists():
        unfinished = KEPT / f"{name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        command = (*OWN_MOUNTS, "debootstrap", "--variant=minbase", *options)
        done = subprocess.run(
            (*command, RELEASES[release], str(unfinished), MIRROR),
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        unfinished.rename(root)
    return root
