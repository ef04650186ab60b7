"""The architecture, checked against the code: imports point down, pure layers stay pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "router"

LAYERS = [
    "wire",
    "config",
    "policy",
    "flows",
    "platform",
    "outbound",
    "engine",
    "control",
    "cli",
]
"""From the bottom: a layer may import itself and those before it."""

PURE = {"wire", "policy", "flows"}
IMPURE_MODULES = {
    "asyncio",
    "datetime",
    "logging",
    "os",
    "pathlib",
    "random",
    "select",
    "selectors",
    "secrets",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path.name != "__main__.py")


def layer_of(path: Path) -> str | None:
    """The layer a module belongs to; None for router/__init__.py, which imports nothing."""
    first = path.relative_to(ROOT).parts[0]
    return None if first == "__init__.py" else first.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            if node.module == "router":
                yield from (f"router.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    layer = layer_of(path)
    if layer is None:
        assert not [name for name in imports(path) if name.startswith("router")]
        return
    assert layer in LAYERS, f"{path} belongs to no layer"
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "router" and len(parts) > 1:
            assert parts[1] in [*allowed, "__version__"], f"{path} ({layer}) imports {name}"


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if layer_of(path) in PURE],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_pure_layers_have_no_sockets_clocks_or_logs(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE_MODULES


def test_above_the_outbounds_nothing_looks_for_an_interface_or_a_socket_of_icmp() -> None:
    """The engine and the control socket ask the Outbound protocol; see docs/adr/015-outbound.md.
    What the system has is another matter: `system.interfaces`."""
    for path in [*(ROOT / "engine").rglob("*.py"), *(ROOT / "control").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("icmp", "interfaces"):
                of = ast.unparse(node.value)
                assert of.endswith(("system", "failure")), f"{path}:{node.lineno}: {of}.{node.attr}"
