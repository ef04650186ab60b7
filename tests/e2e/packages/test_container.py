"""What docs/container.md says that a container needs: with that a run works, and without any of it,
it does not.

No container engine: its options are read from the page and applied by setpriv and mounts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import ping
from tests.e2e.test_selftest import READ_ONLY, told
from tests.e2e.testbed import V4, V6, Testbed
from tests.e2e.tunrouter import rules, run_to_end, running, write_rules

PAGE = (Path(__file__).parents[3] / "docs/container.md").read_text(encoding="utf-8")
COMMAND = PAGE.partition("podman run --rm --name")[2].partition("```")[0]
CAPABILITIES = tuple(name.lower() for name in re.findall(r"--cap-add=(\w+)", COMMAND))
DEVICES = re.findall(r"--device=(\S+)", COMMAND)
SETTINGS = re.findall(r"--sysctl=(\S+)=(\S+)", COMMAND)
OF_EVERY_CONTAINER = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
OPTIONAL = "bpf"
RULES = rules(f"{V4.far(1)} -> home", f"{V6.far(1)} -> office")


def contained(
    *, capabilities: tuple[str, ...] = CAPABILITIES, devices: list[str] = DEVICES
) -> tuple[str, ...]:
    """Before a command line: runs it as an engine would."""
    kept = (*OF_EVERY_CONTAINER, *devices)
    mounts = [
        READ_ONLY,
        "mount -t tmpfs none /mnt",
        "mkdir /mnt/net",
        *(f"touch /mnt{each[4:]} && mount --bind {each} /mnt{each[4:]}" for each in kept),
        "mount --rbind /mnt /dev",
    ]
    bounds = ",".join(("-all", *(f"+{name}" for name in capabilities)))
    return (
        *("unshare", "--mount", "sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh"),
        *("setpriv", f"--bounding-set={bounds}"),
    )


@contextmanager
def settings(bed: Testbed) -> Iterator[None]:
    """Those of the page, for new interfaces."""
    before = {
        name: bed.router.run("sysctl", "--values", name).stdout.strip() for name, _ in SETTINGS
    }
    bed.router.run("sysctl", "-w", *(f"{name}={value}" for name, value in SETTINGS))
    try:
        yield
    finally:
        bed.router.run("sysctl", "-w", *(f"{name}={value}" for name, value in before.items()))


def test_with_what_the_page_names(bed: Testbed, tmp_path: Path) -> None:
    assert (len(CAPABILITIES), DEVICES, len(SETTINGS)) == (5, ["/dev/net/tun"], 3)
    with settings(bed), running(bed.router, tmp_path, RULES, prefix=contained()):
        ping.answered(bed.router, V4.far(1), count=1)
        ping.answered(bed.router, V6.far(1), count=1)


@pytest.mark.parametrize("name", [each for each in CAPABILITIES if each != OPTIONAL])
def test_without_a_capability(bed: Testbed, name: str) -> None:
    others = tuple(each for each in CAPABILITIES if each != name)
    with settings(bed):
        found = told(bed.router, prefix=contained(capabilities=others))
    assert found.checks["rights"]["status"] == "missing"
    assert f"CAP_{name.upper()}" in found.checks["rights"]["finding"]
    assert found.checks["tun"]["status"] == "ok"


def test_without_the_settings(bed: Testbed, tmp_path: Path) -> None:
    """Those that a new interface does not have by itself are named, as the page has them."""
    file = str(write_rules(tmp_path, RULES))
    lacking = {
        f"--sysctl {name}={value}"
        for name, value in SETTINGS
        if bed.router.run("sysctl", "--values", name).stdout.strip() != value
    }
    assert lacking
    run = run_to_end(bed.router, "run", "-c", file, prefix=contained())
    assert run.exit_code == 1
    assert set(re.findall(r"--sysctl \S+", run.log)) == lacking
    assert "/proc/sys is read-only" in run.log
