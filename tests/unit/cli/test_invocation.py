"""Commands to copy in messages: by name where the shell, or sudo, finds the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.cli import invocation


@pytest.fixture
def program(tmp_path: Path) -> str:
    """As in a virtual environment that no PATH leads to."""
    path = tmp_path / "bin" / "tunrouter"
    path.parent.mkdir()
    path.touch(mode=0o755)
    return str(path)


@pytest.fixture(autouse=True)
def _paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(invocation, "SUDO_PATH", str(tmp_path / "empty"))


def test_by_its_path(program: str) -> None:
    assert invocation.by_user(program) == program
    assert invocation.by_root(program, is_root=False) == f"sudo {program}"
    assert invocation.by_root(program, is_root=True) == program


def test_by_its_name_for_the_user_alone(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pipx installs it."""
    monkeypatch.setenv("PATH", str(Path(program).parent))
    assert invocation.by_user(program) == "tunrouter"
    assert invocation.by_root(program, is_root=False) == f"sudo {program}"


def test_by_its_name(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a package installs it, or a link."""
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/tunrouter").symlink_to(program)
    monkeypatch.setenv("PATH", str(tmp_path / "linked"))
    monkeypatch.setattr(invocation, "SUDO_PATH", str(tmp_path / "linked"))
    assert invocation.by_user(program) == "tunrouter"
    assert invocation.by_root(program, is_root=False) == "sudo tunrouter"


def test_another_program_of_that_name(program: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/tunrouter").touch(mode=0o755)
    assert invocation.by_user(program) == program


def test_a_path_that_a_shell_would_split(tmp_path: Path) -> None:
    program = tmp_path / "my programs" / "tunrouter"
    program.parent.mkdir()
    program.touch(mode=0o755)
    assert invocation.by_root(str(program), is_root=False) == f"sudo '{program}'"


def test_by_python() -> None:
    assert invocation.by_root("/some/router/cli/__main__.py", is_root=False) == "sudo tunrouter"
