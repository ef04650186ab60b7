"""Recipes and other pages, run from their very text: the files of each are written, the router is
started on its rules.yaml, and each command prints what the page shows."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.documents.transcript import Command, File, is_shown, steps
from tests.e2e.netns import Namespace
from tests.e2e.proxies import microsocks, started
from tests.e2e.second_uplink import GATEWAY, UPLINK, second_uplink
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import PROGRAM, Tunrouter

DOCS: Final = Path(__file__).parents[3] / "docs"
RULES: Final = "rules.yaml"
STARTS: Final = "tunrouter run -c rules.yaml"
PATH: Final = f"{Path(PROGRAM).parent}:{os.environ['PATH']}"

SetUp = Callable[[Testbed, Path], AbstractContextManager[object]]


def nothing(_bed: Testbed, _directory: Path) -> AbstractContextManager[object]:
    return nullcontext()


def a_second_vpn(bed: Testbed, _directory: Path) -> AbstractContextManager[object]:
    """Its interface is eth1, with a default route of its own."""
    return _with_default_route(bed)


@contextmanager
def _with_default_route(bed: Testbed) -> Iterator[None]:
    with second_uplink(bed):
        bed.router.ip(f"route add default via {GATEWAY[4]} dev {UPLINK} metric 900")
        yield


@contextmanager
def a_proxy(bed: Testbed, directory: Path) -> Iterator[None]:
    """On the home gateway, and a web server behind it."""
    (directory / "web").mkdir()
    (directory / "web" / "greeting").write_text("hello\n", encoding="utf-8")
    served = ("--directory", str(directory / "web"), "8000")
    with (
        microsocks(bed.gw, 1080),
        started(bed.far, 8000, sys.executable, "-m", "http.server", *served),
    ):
        yield


def a_published_list(_bed: Testbed, directory: Path) -> AbstractContextManager[object]:
    """cloud.txt, with networks of a provider."""
    networks = [f"100.{64 + number // 256}.{number % 256}.0/25" for number in range(10_000)]
    (directory / "cloud.txt").write_text("\n".join(["198.51.100.0/24", *networks, ""]))
    (directory / "lists").mkdir()
    return nullcontext()


PAGES: Final[Mapping[str, SetUp]] = {
    "../README.md": nothing,
    "first-steps.md": nothing,
    "explain.md": nothing,
    "troubleshooting.md": nothing,
    "recipes/company-and-home.md": nothing,
    "recipes/two-vpns.md": a_second_vpn,
    "recipes/all-but-the-lan.md": nothing,
    "recipes/some-by-socks5.md": a_proxy,
    "recipes/a-long-list.md": a_published_list,
    "recipes/a-gateway.md": nothing,
    "recipes/beside-others.md": nothing,
    "recipes/as-a-service.md": nothing,
}
"""What each page takes for granted beside the network of the tests."""


def test_every_recipe_is_run() -> None:
    written = {f"recipes/{page.name}" for page in (DOCS / "recipes").glob("*.md")}
    assert written - {"recipes/index.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_a_page(bed: Testbed, tmp_path: Path, page: str) -> None:
    with PAGES[page](bed, tmp_path), Reader(bed, tmp_path) as reader:
        for step in steps(DOCS / page):
            if isinstance(step, File):
                reader.write(step)
            else:
                reader.type(step)
        assert reader.typed, f"{page} shows no command"


class Reader:
    """Does what a page says, in a directory of their own. The router starts with the first command
    that needs it."""

    def __init__(self, bed: Testbed, directory: Path) -> None:
        self._bed = bed
        self._directory = directory
        self._router: Tunrouter | None = None
        self.typed = 0

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._router is not None:
            self._router.close()

    def write(self, file: File) -> None:
        """A file of the page; another rules.yaml ends the router that runs on the former."""
        path = self._directory / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
        if file.name == RULES and self._router is not None:
            assert self._router.stop().exit_code == 0
            self._router = None

    def type(self, command: Command) -> None:
        """A command of the page, with the lines that it is to print."""
        self.typed += 1
        host = self._bed.client if command.by_lan else self._bed.router
        line = command.line.removeprefix("sudo ")
        if line == STARTS:
            self._run()
            return
        output = self._output(host, line)
        missing = is_shown(command.printed, output)
        assert missing is None, f"$ {command.line}\nprints no {missing!r}:\n{output}"

    def _run(self) -> None:
        self._router = Tunrouter(self._bed.router, self._directory / RULES)
        self._router.wait_until_ready()

    def _output(self, host: Namespace, line: str) -> str:
        """Of both streams, as a terminal shows them."""
        directory, path = shlex.quote(str(self._directory)), shlex.quote(PATH)
        script = f"exec 2>&1; cd {directory}; PATH={path}; {line}"
        return host.run("sh", "-c", script, check=False).stdout
