"""The Debian package on copies of this machine and of machines of Debian 12 and 13: installed, run,
upgraded under a router that runs, removed, purged."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from router import __version__
from tests.e2e import ping
from tests.e2e.testbed import V4, V6, Testbed
from tests.e2e.tunrouter import rules, running
from tests.release.debian import RELEASES, machine_root
from tests.release.machine import Machine, built, copied

OLDER = f"{__version__}~0"
RULES = "/etc/tunrouter/rules.yaml"
PROGRAM = "/usr/bin/tunrouter"
OF_OTHERS = ("/var/lib/dpkg/", "/var/log/", "/var/cache/man", "/etc/.pwd.lock", "/run/systemd")
"""Of dpkg, of its triggers, of useradd, of systemd-analyze."""
ACCOUNTS = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")
OLD_ACCOUNTS = tuple(f"{file}-" for file in (*ACCOUNTS, "/etc/subuid", "/etc/subgid"))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("packages")
    return {
        version: str(built(directory, sys.executable, version)) for version in (OLDER, __version__)
    }


@pytest.fixture(params=["this machine", *RELEASES])
def machine(bed: Testbed, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    directory = tmp_path / "machine"
    directory.mkdir()
    original = machine_root(request.param) if request.param in RELEASES else Path("/")
    with copied(bed.router, directory, original) as found:
        yield found


def test_from_the_first_version_to_the_purge(
    bed: Testbed, machine: Machine, packages: dict[str, str], tmp_path: Path
) -> None:
    accounts = machine.run("cat", *ACCOUNTS)
    _install(machine, packages[OLDER])
    _is_in_order(machine)
    text = rules(f"{V4.far(1)} -> home", f"{V6.far(1)} -> office")
    with running(bed.router, tmp_path, text, prefix=machine.prefix, program=(PROGRAM,)) as router:
        ping.answered(bed.router, V4.far(1), count=1)
        uids = {Path(f"/proc/{pid}").stat().st_uid for pid in router.pids()}
        assert int(machine.run("id", "--user", "tunrouter")) in uids

        machine.run("sh", "-c", f"echo '# mine' >>{RULES}")
        _install(machine, packages[__version__])
        assert machine.run("tail", "--lines=1", RULES) == "# mine\n"
        ping.answered(bed.router, V6.far(1), count=1)
        machine.run(PROGRAM, "reload")
        assert "office" in machine.run(PROGRAM, "status")
    with running(bed.router, tmp_path, text, prefix=machine.prefix, program=(PROGRAM,)):
        ping.answered(bed.router, V4.far(1), count=1)

    machine.run("dpkg", "--remove", "tunrouter")
    assert _left(machine) == {"/etc/tunrouter", RULES}
    machine.run("dpkg", "--purge", "tunrouter")
    assert (_left(machine), machine.removed()) == (set(), set())
    assert machine.run("cat", *ACCOUNTS) == accounts


def test_installed_again_after_removal(machine: Machine, packages: dict[str, str]) -> None:
    """What its owner has removed or changed of the rules stays so."""
    _install(machine, packages[__version__])
    machine.run("sh", "-c", f"echo '# mine' >>{RULES}")
    machine.run("dpkg", "--remove", "tunrouter")
    _install(machine, packages[__version__])
    assert machine.run("tail", "--lines=1", RULES) == "# mine\n"
    assert machine.run("dpkg", "--verify", "tunrouter").split() == ["??5??????", "c", RULES]


def _install(machine: Machine, package: str) -> None:
    machine.run("dpkg", "--force-unsafe-io", "--force-confold", "--install", package)


def _is_in_order(machine: Machine) -> None:
    """Files as packed; rules that check, a unit that systemd takes, completion and manual pages."""
    assert machine.run("dpkg", "--verify", "tunrouter") == ""
    assert machine.run(PROGRAM, "--version") == f"tunrouter {__version__}\n"
    assert "0 routes" in machine.run(PROGRAM, "check", "--strict")
    unit = "/usr/lib/systemd/system/tunrouter.service"
    machine.run("systemd-analyze", "verify", "--man=no", unit)
    assert f"{PROGRAM} run -c {RULES}" in machine.run("cat", unit)
    machine.run("bash", "-n", "/usr/share/bash-completion/completions/tunrouter")
    for section, name in ((1, "tunrouter"), (5, "rules.yaml")):
        assert name in machine.run(
            "gzip", "-dc", f"/usr/share/man/man{section}/{name}.{section}.gz"
        )


def _left(machine: Machine) -> set[str]:
    """What is there beside the files of other programs."""
    return {
        path
        for path in machine.added()
        if not path.startswith(OF_OTHERS) and path not in OLD_ACCOUNTS
    }
