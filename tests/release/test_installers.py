"""The installations of docs/packages.md and the README's first command, as they are written: from
what `make dist` builds, and from a fresh clone. They fetch what they need from PyPI.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from router import __version__
from tests.e2e import ping
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import rules, write_rules

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/packages.md").read_text(encoding="utf-8")
BLOCK = PAGE.partition("```sh\n")[2].partition("```")[0]
LINES = [line.strip() for line in BLOCK.splitlines()]
INSTALLERS = ("pipx", "uv", "pre-commit")
OF_A_USER = ".local/bin/tunrouter"
PROGRAMS = {"pipx": OF_A_USER, "uv": OF_A_USER, "python3": "tunrouter/bin/tunrouter"}
EXTRAS = ("extra-trace", "extra-top", "extra-web")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of what is committed, with sdist and wheel in `dist`."""
    clone = tmp_path_factory.mktemp("clone") / "tunrouter"
    _run(("git", "clone", "--quiet", str(ROOT), str(clone)))
    _run((sys.executable, "-m", "scripts.dist", str(clone / "dist")))
    return clone


@pytest.fixture(scope="module")
def installers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of pipx, uv and pre-commit."""
    environment = tmp_path_factory.mktemp("installers")
    _run((sys.executable, "-m", "venv", str(environment)))
    _run((str(environment / "bin/pip"), "install", "--quiet", *INSTALLERS))
    return environment / "bin"


@pytest.mark.parametrize("file", ["wheel", "sdist"])
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split()[0])
def test_an_installation(
    checkout: Path, installers: Path, tmp_path: Path, line: str, file: str
) -> None:
    if file == "sdist":
        line = line.replace("-py3-none-any.whl", ".tar.gz")
    home = {"HOME": str(tmp_path), "PATH": f"{installers}:{os.environ['PATH']}"}
    _run(("sh", "-ec", line), checkout, home)
    program = str(tmp_path / PROGRAMS[line.split()[0]])
    assert _run((program, "--version"), tmp_path, home) == f"tunrouter {__version__}\n"
    found = json.loads(_run((program, "selftest", "--json"), tmp_path, home, check=False))
    status = {each["id"]: each["status"] for each in found["checks"]}
    assert {status[each] for each in EXTRAS} == {"ok"}


def test_make_run(bed: Testbed, tmp_path: Path) -> None:
    """On a clone with nothing installed; what is fetched is fetched outside the test bed."""
    checkout = tmp_path / "tunrouter"
    _run(("git", "clone", "--quiet", str(ROOT), str(checkout)))
    _run(("make", ".venv/run.stamp"), checkout)
    file = write_rules(tmp_path, rules(f"{V4.far(1)} -> home"))
    program = ("make", "--directory", str(checkout), "run", f"RULES={file}")
    process = bed.router.start("env", "--unset=PYTHONPATH", *program)
    try:
        process.wait_for_output("ready: ")
        ping.answered(bed.router, V4.far(1), count=1)
    finally:
        process.close()


def test_the_hooks_of_contributing(checkout: Path, installers: Path) -> None:
    """`pre-commit install`, with the tools of this environment, as `make check` makes it."""
    (checkout / ".venv").symlink_to(Path(sys.executable).parents[1])
    home = {"PATH": f"{installers}:{os.environ['PATH']}"}
    _run(("pre-commit", "install"), checkout, home)
    assert (checkout / ".git/hooks/pre-commit").exists()
    shown = _run(("pre-commit", "run", "--all-files"), checkout, home)
    assert "Failed" not in shown


def _run(
    command: tuple[str, ...],
    directory: Path = ROOT,
    environment: dict[str, str] | None = None,
    *,
    check: bool = True,
) -> str:
    """Without what leads to this checkout."""
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=directory,
        env={**inherited, **(environment or {})},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 or not check, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
