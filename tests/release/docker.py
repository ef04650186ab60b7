"""Docker's engine itself in the network of a test bed, from Debian's packages without installing
them, so that no service is started on the machine.

Always true: its files, images and sockets are in a directory of the test, its rules and its bridge
in the namespace.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.documents.engine import BRIDGE
from tests.e2e.netns import NAMESPACES
from tests.e2e.processes import Process
from tests.e2e.testbed import Testbed
from tests.release.debian import KEPT

PACKAGES: Final = ("docker.io", "containerd", "tini", "busybox-static")
SERVER: Final = '["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"]'
READY: Final = "API listen on"
TIMEOUT_S: Final = 120.0


@contextmanager
def docker(bed: Testbed, directory: Path) -> Iterator[None]:
    """The command `docker`, with an image `web` that serves /greeting at its port 80. Forwarding is
    off before, as on a machine that is no gateway."""
    root = _programs()
    path = f"{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}"
    state = directory / "docker"
    state.mkdir()
    socket = f"unix://{state}/socket"
    bed.router.sysctl(ipv4__ip_forward=0)
    places = [f"--{name}={state}/{name}" for name in ("data-root", "exec-root", "pidfile")]
    engine = Process(
        ("nsenter", f"--net={NAMESPACES / bed.router.name}", "dockerd", *places, "--host", socket),
        {"PATH": path},
    )
    command = (f"{root}/usr/bin/docker", "--host", socket)
    try:
        engine.wait_for_output(READY, timeout=TIMEOUT_S)
        _import_image(command, root, directory)
        program = directory / "bin" / "docker"
        program.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        yield
    finally:
        subprocess.run((*command, "rm", "--force", "web"), check=False, capture_output=True)
        engine.stop(timeout=TIMEOUT_S)
        engine.close()
        bed.router.run("nft", "flush", "ruleset")
        bed.router.run("ip", "link", "del", BRIDGE, check=False)
        bed.router.sysctl(ipv4__ip_forward=1)


def _programs() -> Path:
    """The directory with the files of the packages, unpacked once."""
    root = KEPT / "docker"
    if not root.exists():
        unfinished = KEPT / "docker.unfinished"
        unfinished.mkdir(parents=True, exist_ok=True)
        subprocess.run(("apt-get", "download", "-qq", *PACKAGES), cwd=unfinished, check=True)
        for package in unfinished.glob("*.deb"):
            subprocess.run(("dpkg", "--extract", package, unfinished), check=True)
            package.unlink()
        unfinished.rename(root)
    return root


def _import_image(command: tuple[str, ...], root: Path, directory: Path) -> None:
    image = directory / "image"
    (image / "bin").mkdir(parents=True)
    (image / "www").mkdir()
    (image / "www/greeting").write_text("hello\n", encoding="utf-8")
    (image / "bin/busybox").write_bytes((root / "bin/busybox").read_bytes())
    (image / "bin/busybox").chmod(0o755)
    (image / "bin/wget").symlink_to("busybox")
    packed = subprocess.run(
        ("tar", "--create", "--directory", str(image), "."), check=True, capture_output=True
    )
    subprocess.run(
        (*command, "import", "--change", f"CMD {SERVER}", "-", "web"),
        input=packed.stdout,
        check=True,
        capture_output=True,
    )
