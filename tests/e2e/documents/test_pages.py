"""Recipes and other pages, run from their very text: the files of each are written, the router is
started on its rules.yaml, and each command prints what the page shows."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.documents.pages import PAGES, SetUp
from tests.e2e.documents.transcript import ROUTER, Command, File, is_shown, steps
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import PROGRAM, Tunrouter
from tests.e2e.wait import wait_until

DOCS: Final = Path(__file__).parents[3] / "docs"
RULES: Final = "rules.yaml"
SUDO: Final = re.compile(r"\bsudo ")
"""The tests are root's; a machine may have none."""
STARTS: Final = "tunrouter run -c rules.yaml"
WAITS: Final = "wait $!"
PATH: Final = f"{Path(PROGRAM).parent}:{os.environ['PATH']}"


def test_every_recipe_is_run() -> None:
    written = {f"recipes/{page.name}" for page in (DOCS / "recipes").glob("*.md")}
    assert written - {"recipes/index.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_a_page(bed: Testbed, tmp_path: Path, page: str) -> None:
    read(bed, tmp_path, page, PAGES[page])


def read(bed: Testbed, directory: Path, page: str, set_up: SetUp) -> None:
    """Do what a page says, in an empty directory."""
    (directory / "bin").mkdir()
    with set_up(bed, directory) as place, Reader(bed, directory, place) as reader:
        for step in steps(DOCS / page):
            if isinstance(step, File):
                reader.write(step)
            else:
                reader.type(step)
        reader.expect_what_goes_on()
        assert reader.typed, f"{page} shows no command"


class Reader:
    """Does what a page says, in a directory of their own. The router starts with the first command
    that needs it. place: see SetUp."""

    def __init__(self, bed: Testbed, directory: Path, place: Namespace | None = None) -> None:
        router = place or bed.router
        self._hosts = {ROUTER: router, "lan": bed.client, "far": bed.far}
        self._directory = directory
        self._router: Tunrouter | None = None
        self._going_on: list[tuple[Command, Process]] = []
        self.typed = 0

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for _command, process in self._going_on:
            process.close()
        if self._router is not None:
            self._router.close()

    def write(self, file: File) -> None:
        """A file of the page; another rules.yaml ends the router that runs on the former."""
        path = self._directory / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
        if file.text.startswith("#!"):
            path.chmod(0o755)
        if file.name == RULES and self._router is not None:
            assert self._router.stop().exit_code == 0
            self._router = None

    def type(self, command: Command) -> None:
        """A command of the page, with the lines that it is to print."""
        self.typed += 1
        host = self._hosts[command.host]
        line = SUDO.sub("", command.line)
        if line == STARTS:
            self._run()
        elif line == WAITS:
            self._going_on[-1][1].wait()
        elif command.goes_on:
            self._begin(command, host, line)
        else:
            output = host.run(*self._shell(line), check=False).stdout
            missing = is_shown(command.printed, output)
            assert missing is None, f"$ {command.line}\nprints no {missing!r}:\n{output}"

    def expect_what_goes_on(self) -> None:
        """Waits for what the commands that go on are to print."""
        for command, process in self._going_on:
            _wait_for(command.printed, process)

    def _run(self) -> None:
        self._router = Tunrouter(self._hosts[ROUTER], self._directory / RULES)
        self._router.wait_until_ready()

    def _begin(self, command: Command, host: Namespace, line: str) -> None:
        """Returns when it has printed its first line, after which it is ready."""
        process = host.start(*self._shell(f"exec {line}"))
        self._going_on.append((command, process))
        _wait_for(command.printed[:1], process)

    def _shell(self, line: str) -> tuple[str, ...]:
        """Both streams are one, as a terminal shows them."""
        directory, path = shlex.quote(str(self._directory)), f"{self._directory}/bin:{PATH}"
        return ("sh", "-c", f"exec 2>&1; cd {directory}; PATH={shlex.quote(path)}; {line}")


def _wait_for(printed: list[str], process: Process) -> None:
    wait_until(
        lambda: is_shown(printed, process.stdout) is None, "\n".join(printed), detail=process.report
    )
