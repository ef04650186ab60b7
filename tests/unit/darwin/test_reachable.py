"""What the processes of a Mac import and name.

That Python has a name there is checked by mypy for macOS, over the whole tree. This is about what
it cannot see: imports of Linux's package, names that are looked up as strings, and what Python has
on a Mac but xnu refuses.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PROGRAMS: Final = (
    "router.cli",
    "router.control.web.__main__",
    "router.platform.darwin.guard",
    "router.platform.darwin.undoer",
    "router.platform.host_names",
)
"""All that is started: by users, by the router and by the guard."""
REFUSED: Final = frozenset({"SOCK_SEQPACKET", "SOCK_RDM", "SOCK_NONBLOCK", "SOCK_CLOEXEC"})
"""Kinds of sockets: kern/uipc_proto.c has streams and datagrams alone, and xnu no flags in them."""
OF_SYSTEMS: Final = {"fcntl", "os", "resource", "select", "signal", "socket", "termios", "time"}
BY_STRING: Final = {("router/config/trust.py", "O_PATH")}
"""Looked up with another value for systems without it."""
OF_LINUX: Final = ("/proc", "/sys")
WORDS_ABOUT_LINUX: Final = "router/policy/machine/"
"""What `selftest` says there."""


def file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    found = (path / "__init__.py", path.with_suffix(".py"))
    return next((each for each in found if each.exists()), None)


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Of a file, all that is not for another system, or for type checkers."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, ast.If) and is_elsewhere(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)
    return found


def is_elsewhere(test: ast.expr) -> bool:
    text = ast.unparse(test)
    return text in ("sys.platform == 'linux'", "sys.platform != 'darwin'", "TYPE_CHECKING")


def imported(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reachable() -> dict[Path, str]:
    """The files, each with the module that imports it."""
    found: dict[Path, str] = {}
    waiting = [(name, "a start") for name in PROGRAMS]
    while waiting:
        module, by = waiting.pop()
        path = file_of(module) if module.startswith("router") else None
        if path is not None and path not in found:
            found[path] = by
            waiting += [(each, module) for each in imported(path)]
            waiting.append((module.rpartition(".")[0], module))
    return found


FOUND: Final = reachable()
FILES: Final = sorted(str(each.relative_to(ROOT)) for each in FOUND)


def test_nothing_of_linux_is_imported() -> None:
    assert len(FILES) > 250
    linux = {
        str(path.relative_to(ROOT)): by
        for path, by in FOUND.items()
        if path.is_relative_to(ROOT / "router" / "platform" / "linux")
    }
    assert linux == {}


def test_nothing_is_named_that_xnu_refuses() -> None:
    for file in FILES:
        check(file)


def check(file: str) -> None:
    for node in nodes(ROOT / file):
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            assert name not in REFUSED, f"{file}:{node.lineno}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            module, name = map(ast.unparse, node.args[:2])
            is_one = (file, name.strip("'")) in BY_STRING
            assert is_one or module not in OF_SYSTEMS, f"{file}:{node.lineno}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            is_path = node.value.startswith(OF_LINUX) and "\n" not in node.value
            assert not is_path or file.startswith(WORDS_ABOUT_LINUX), f"{file}:{node.lineno}"
