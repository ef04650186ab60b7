"""The pages for those who come from elsewhere: every rules.yaml on them passes `check`, and what is
imported on them becomes what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import router
from router.cli.check import inspect
from router.config.loader import load
from router.config.problems import Severity
from tests.unit.check.networks import interface, network
from tests.unit.config.foreign.imports import of_text

DOCS = Path(router.__file__).parents[1] / "docs"
PAGES = sorted([*DOCS.glob("from/*.md"), DOCS / "init.md"])
BLOCK = re.compile(r"^```([\w-]+)(?: title=[^\n]*)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = ("clash", "surge", "sing-box")
MACHINE = network(
    [
        interface("lo", 1, "127.0.0.1/8"),
        interface("eth0", 2, "192.0.2.2/24"),
        interface("wg0", 3, "10.8.0.2/24", "fd08::2/64", tunnel=True),
    ],
    ["0.0.0.0/0 eth0 192.0.2.1"],
)


def blocks(page: Path, *kinds: str) -> list[str]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind in kinds]


def test_every_page_has_rules() -> None:
    assert len(PAGES) == 7
    assert all(blocks(page, "yaml") for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_rules_pass_check(page: Path, tmp_path: Path) -> None:
    for text in blocks(page, "yaml"):
        path = tmp_path / "rules.yaml"
        path.write_text(text, encoding="utf-8")
        (tmp_path / "proxy-password").write_text("secret")
        problems = inspect(load(path), MACHINE).problems
        errors = [each.as_line() for each in problems if each.severity is Severity.ERROR]
        assert not errors, text


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_imported_becomes_what_the_page_says(kind: str, tmp_path: Path) -> None:
    page = DOCS / "from" / f"{kind}.md"
    (original,), (expected,) = blocks(page, kind), blocks(page, "yaml")
    _, made = of_text(kind, tmp_path, original)
    assert [line for line in made.splitlines() if not line.startswith("#")] == (
        expected.splitlines()
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_rules_in_tables_are_rules(page: Path, tmp_path: Path) -> None:
    """Each `- {…}` and `name: {…}` of a table, with policies of the names that it uses."""
    text = page.read_text(encoding="utf-8")
    rules = re.findall(r"`(- \{[^`…]*\})`", text)
    rules = [each for each in rules if "..." not in each and "file:" not in each]
    policies = re.findall(r"`(\w+: \{type[^`]*\})`", text)
    names = set(re.findall(r"policy: (\w+)", " ".join(rules)))
    names -= {"bypass", "reject", "drop", "reply"} | {each.split(":")[0] for each in policies}
    lines = ["version: 1", "policies:", *(f"  {each}" for each in policies)]
    lines += [f"  {name}: {{type: vpn, interface: wg0}}" for name in sorted(names)]
    lines += ["rules:", *(f"  {each}" for each in rules), ""]
    path = tmp_path / "rules.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert load(path).ok, [each.as_line() for each in load(path).problems]
