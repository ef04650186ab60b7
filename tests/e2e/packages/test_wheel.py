"""The sdist and the wheel as `make dist` builds them: what they hold, and a run of the wheel in a
virtual environment that has nothing of this checkout.

The libraries of that environment are those of the tests, so that nothing is fetched.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from router import __version__
from tests.e2e import ping
from tests.e2e.testbed import V4, V6, Testbed
from tests.e2e.tunrouter import rules, running

ROOT = Path(__file__).parents[3]
OF_ROOT = ("*.md", "*.yml", "*.toml", "LICENSE", "Makefile", "rules.example.yaml")
WITHOUT_CHECKOUT = ("env", "--chdir=/", "--unset=PYTHONPATH")


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    """The directory of both. The user that the router switches to can read it."""
    with TemporaryDirectory(prefix="tunrouter-wheel-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        subprocess.run([sys.executable, "-m", "scripts.dist", name], cwd=ROOT, check=True)
        yield directory


def test_everything_is_in_them(built: Path) -> None:
    with zipfile.ZipFile(built / f"tunrouter-{__version__}-py3-none-any.whl") as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("router/")}
    with tarfile.open(built / f"tunrouter-{__version__}.tar.gz") as sdist:
        source = {name.partition("/")[2] for name in sdist.getnames()}
    assert packed == _files(ROOT / "router")
    of_root = {path.name for pattern in OF_ROOT for path in ROOT.glob(pattern)}
    assert source >= of_root
    for each in ("router", "tests", "bench", "docs", "packaging", "requirements", "scripts"):
        assert source >= _files(ROOT / each)


def test_a_ping_by_the_wheel(bed: Testbed, built: Path, tmp_path: Path) -> None:
    environment = built / "environment"
    venv.create(environment, symlinks=True, with_pip=False)
    python = environment / "bin/python"
    (wheel,) = built.glob("*.whl")
    install = (sys.executable, "-m", "pip", "--python", str(python), "--quiet", "install")
    subprocess.run(
        [*install, "--no-deps", "--no-index", "--disable-pip-version-check", wheel], check=True
    )
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(environment)}))
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")

    program = str(environment / "bin/tunrouter")
    place = "import router; print(router.__file__)"
    found = bed.router.run(*WITHOUT_CHECKOUT, str(python), "-c", place).stdout
    assert Path(found.strip()) == packages / "router/__init__.py"
    version = bed.router.run(*WITHOUT_CHECKOUT, program, "--version").stdout
    assert version == f"tunrouter {__version__}\n"
    text = rules(f"{V4.far(1)} -> home", f"{V6.far(1)} -> office")
    with running(bed.router, tmp_path, text, prefix=WITHOUT_CHECKOUT, program=(program,)):
        ping.answered(bed.router, V4.far(1), count=1)
        ping.answered(bed.router, V6.far(1), count=1)


def _files(directory: Path) -> set[str]:
    """By their path from the root, without what Python compiled and what npm has installed."""
    return {
        str(path.relative_to(ROOT))
        for path in directory.rglob("*")
        if path.is_file() and not {"__pycache__", "node_modules"} & set(path.parts)
    }
