"""The documents and the code agree: problem codes, paths of files, numbers of ADRs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import router
from tests.unit.check.test_golden import codes_in_source as codes_of_findings
from tests.unit.config.test_golden import codes_in_source as codes_of_files

ROOT = Path(router.__file__).parents[1]
DOCS = ROOT / "docs" / "check.md"
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (error or warning|error|warning) \| .+ \| .+ \|$", re.M)
UNIT = Path(__file__).parents[1]

FOLDERS = "router|docs|tests|bench|scripts"
LAYERS = "cli|control|engine|outbound|platform|flows|policy|config|wire"
NAMED_PATH = re.compile(rf"(?<![\w/.-])((?:{FOLDERS}|{LAYERS})/[\w./-]*\w)")
"""A file or folder, from the top of the repository or, in router, from a layer."""
NAMED_MODULE = re.compile(rf"\brouter\.((?:{LAYERS})(?:\.\w+)*)")
NAMED_BENCH = re.compile(r"-m (bench\.\w+)")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
ADR_NUMBER = re.compile(r"\bADRs? ((?:\d{3})(?:(?:,| and) \d{3})*)")


def documents() -> list[Path]:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")]
    return sorted([*pages, *ROOT.glob("bench/*.md")])


def modules() -> list[Path]:
    return sorted([*ROOT.glob("router/**/*.py"), *ROOT.glob("bench/*.py")])


def module_header(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def exists(named: str) -> bool:
    """Whether a file, folder or module is named, from the top or from router; `module.name` too."""
    folder, _, last = named.rpartition("/")
    module = f"{folder}/{last.partition('.')[0]}"
    return any(
        path.exists()
        for base in (ROOT, ROOT / "router")
        for path in (base / named, base / f"{named}.py", base / f"{module}.py")
    )


def missing_in(text: str) -> Iterator[str]:
    """Names in a text that the repository does not have."""
    yield from (path for path in NAMED_PATH.findall(text) if not exists(path))
    for module in NAMED_MODULE.findall(text):
        parts = module.split(".")
        # The last part may be a name in the module.
        if not exists("/".join(parts)) and not exists("/".join(parts[:-1])):
            yield f"router.{module}"
    yield from (bench for bench in NAMED_BENCH.findall(text) if not exists(bench.replace(".", "/")))
    for numbers in ADR_NUMBER.findall(text):
        for number in re.findall(r"\d{3}", numbers):
            if not list(ROOT.glob(f"docs/adr/{number}-*.md")):
                yield f"ADR {number}"


@pytest.mark.parametrize("path", documents(), ids=relative)
def test_what_a_document_names_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not list(missing_in(text))
    assert not [link for link in LINK.findall(text) if not (path.parent / link).exists()]


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_what_a_module_header_names_exists(path: Path) -> None:
    assert not list(missing_in(module_header(path)))


def test_what_does_not_exist_is_found() -> None:
    text = (
        "engine/gone.py, router/policy/gone, router.flows.gone.Name, ADR 003 and 999, -m bench.gone"
    )
    found = set(missing_in(text))
    assert {"engine/gone.py", "router/policy/gone", "ADR 999", "bench.gone"} <= found
    assert "ADR 003" not in found


def test_adrs_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:3]) for path in sorted(ROOT.glob("docs/adr/*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_table_has_every_code_and_no_other() -> None:
    rows = [code for code, _ in ROW.findall(DOCS.read_text(encoding="utf-8"))]
    assert len(rows) == len(set(rows))
    assert set(rows) == codes_of_findings() | codes_of_files()


def test_severities_are_as_documented() -> None:
    documented = dict(ROW.findall(DOCS.read_text(encoding="utf-8")))
    seen: dict[str, set[str]] = {}
    for golden in (*UNIT.glob("check/golden/*.txt"), *UNIT.glob("config/golden/*.txt")):
        shown = re.findall(r"(error|warning)\[([a-z0-9-]+)\]: ", golden.read_text(encoding="utf-8"))
        for severity, code in shown:
            seen.setdefault(code, set()).add(severity)
    assert {code: " or ".join(sorted(found)) for code, found in seen.items()} == {
        code: severity for code, severity in documented.items() if code in seen
    }
