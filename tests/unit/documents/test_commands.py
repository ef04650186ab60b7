"""Commands of the documentation: the command line takes each, and the tests run it, or it stands in
the list of those that are not run, with the reason."""

from __future__ import annotations

import re
import shlex

import pytest

from router.cli.parser import parser
from tests.e2e.documents.test_pages import DOCS, PAGES
from tests.e2e.documents.transcript import Command, steps

NOT_RUN = {
    "flows.md": "a dialogue with the control socket, which tests/e2e/direct/test_flows.py has",
    "selftest.md": "a machine that lacks something; tests/e2e/test_selftest.py takes things away",
    "status.md": "a dialogue with the control socket, which tests/e2e/test_control_socket.py has",
    "trace.md": "packets that others send; tests/e2e/direct/test_trace.py sends them",
    "web.md": "a process that does not end by itself; tests/e2e/web starts it",
}
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
    assert {path.name for path in WRITTEN if path not in run} == set(NOT_RUN)


@pytest.mark.parametrize(("page", "arguments"), sorted(set(COMMANDS)))
def test_the_command_line_takes_it(page: str, arguments: str) -> None:
    parser().parse_args(shlex.split(arguments))
