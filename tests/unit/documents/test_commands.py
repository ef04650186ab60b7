"""Commands of the documentation: the command line takes each, and the tests run each page that has
any. Blocks of shell commands without what they print are run elsewhere, or cannot be: a list says
where, or why."""

from __future__ import annotations

import re
import shlex

import pytest

from router.cli.parser import parser
from tests.e2e.documents.pages import PAGES
from tests.e2e.documents.test_pages import DOCS
from tests.e2e.documents.transcript import Command, steps

ROOT = DOCS.parent
SHELL = re.compile(r"^ *```(?:sh|bash|shell)$\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
RUN_BY = {
    "README.md": ["tests/release/test_installers.py", ".ci/run"],
    "CONTRIBUTING.md": [".ci/run", "tests/release/test_installers.py"],
    "docs/first-steps.md": ["tests/release/test_installers.py"],
    "docs/container.md": ["tests/release/test_image.py", "tests/e2e/packages/test_container.py"],
    "docs/packages.md": ["tests/release/test_installers.py", "tests/release/test_deb.py"],
    "docs/releasing.md": [],
}
"""By page, what runs its shell blocks. Of docs/releasing.md: a tag is signed and pushed, which is
the release itself."""
WRITTEN = sorted(
    path
    for path in (DOCS.parent / "README.md", *DOCS.rglob("*.md"))
    if "adr" not in path.parts and any(isinstance(step, Command) for step in steps(path))
)
PROGRAM = re.compile(r"(?:^|[;|&]\s*|\(|sudo )tunrouter (?P<arguments>[^;|&)>]*)")
COMMANDS = [
    (path.name, found["arguments"].split("   #")[0].strip())
    for path in WRITTEN
    for step in steps(path)
    if isinstance(step, Command)
    for found in PROGRAM.finditer(step.line)
]


def test_each_page_with_commands_is_run() -> None:
    run = {(DOCS / page).resolve() for page in PAGES}
    assert [path.name for path in WRITTEN if path not in run] == []


def test_each_page_with_shell_blocks_is_run_elsewhere() -> None:
    pages = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *DOCS.rglob("*.md"),
    ]
    written = {
        str(path.relative_to(ROOT))
        for path in pages
        if "adr" not in path.parts and SHELL.search(path.read_text(encoding="utf-8"))
    }
    assert written == set(RUN_BY)
    assert [each for tests in RUN_BY.values() for each in tests if not (ROOT / each).exists()] == []


@pytest.mark.parametrize(("page", "arguments"), sorted(set(COMMANDS)))
def test_the_command_line_takes_it(page: str, arguments: str) -> None:
    parser().parse_args(shlex.split(arguments))
