"""The libraries of the Debian package: those of the lock, as installed, in Python alone."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from scripts.deb.bundle import NotBundledError, copy_libraries, locked

ROOT = Path(__file__).parents[3]
LOCK = (ROOT / "requirements/run.lock").read_text(encoding="utf-8")


def entry(name: str, version: str) -> str:
    return f"{name}=={version} \\\n    --hash=sha256:{'0' * 64}\n"


def test_all_of_the_lock_but_what_debian_has() -> None:
    names = locked(LOCK)
    assert {"netaddr", "pyroute2", "rich", "scapy", "starlette", "textual"} <= names.keys()
    assert not {"pyyaml", "setuptools", "win-inet-pton"} & names.keys()


def test_files_of_a_library_without_what_python_compiled(tmp_path: Path) -> None:
    version = metadata.version("mdurl")
    copy_libraries(entry("mdurl", version), tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"mdurl", f"mdurl-{version}.dist-info"}
    assert not list(tmp_path.rglob("*.pyc"))
    installed = metadata.distribution("mdurl").locate_file("mdurl/_parse.py")
    assert (tmp_path / "mdurl/_parse.py").read_text() == Path(str(installed)).read_text()


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        (entry("mdurl", "0.0.1"), "locked is 0.0.1"),
        (entry("not-there", "1.0"), "not-there 1.0 is not installed"),
        (entry("rpds-py", metadata.version("rpds-py")), "is compiled"),
    ],
)
def test_what_cannot_be_bundled(lock: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(NotBundledError, match=said):
        copy_libraries(lock, tmp_path)
