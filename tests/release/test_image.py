"""The image of packaging/Containerfile, built and run by podman with the command lines of
docs/container.md as they stand there.

No registry is needed: the image that FROM names is made of a root directory of debootstrap.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from router import __version__
from tests.e2e import ping
from tests.e2e.processes import Process
from tests.e2e.snapshot import state
from tests.e2e.testbed import V4, V6, Testbed
from tests.e2e.tunrouter import rules
from tests.release.debian import image_root
from tests.release.engine import Engine, opened_engine
from tests.release.machine import built

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/container.md").read_text(encoding="utf-8")
COMMANDS: list[str] = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
(BUILD,) = (line for line in COMMANDS if line.startswith("podman build"))
(RUN,) = (line for line in COMMANDS if line.startswith("podman run --rm --name router"))
(SELFTEST,) = (line for line in COMMANDS if line.endswith("tunrouter selftest"))
FROM = re.compile(r"^FROM debian:(\d+)-slim$", re.MULTILINE)
SYSCTL = re.compile(r"--sysctl=(\S+)=(\S+)")
SETTINGS = dict(SYSCTL.findall(RUN))
PROFILE = Path("/usr/share/containers/seccomp.json")
OF_THE_ENGINE = {
    *(name.removeprefix("net.").replace(".", "/") for name in SETTINGS),
    "ipv4/ping_group_range",
}
"""Settings that it changes in the network that it is given, for good."""
REFUSED = "refuses to count answers"
RULES = rules(f"{V4.far(1)} -> home", f"{V6.far(1)} -> office")
READY = "ready:"


@pytest.fixture(scope="module")
def engine(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """With the image, built in a directory with what the Containerfile copies."""
    with opened_engine(tmp_path_factory.mktemp("engine"), bed.router) as engine:
        checkout = tmp_path_factory.mktemp("checkout")
        shutil.copytree(ROOT / "packaging", checkout / "packaging")
        built(checkout / "dist", sys.executable)
        found = FROM.search((ROOT / "packaging/Containerfile").read_text(encoding="utf-8"))
        assert found is not None
        name = f"docker.io/library/debian:{found[1]}-slim"
        engine.add_image(name, image_root(found[1]))
        engine.run(BUILD, checkout)
        yield engine


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """That a run is started in: with `rules`, as the page names it."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/rules.yaml").write_text(RULES, encoding="utf-8")
    return tmp_path


@pytest.fixture(autouse=True)
def settings_as_before(bed: Testbed) -> Iterator[None]:
    """The engine changes those of the network that it is given."""
    before = {name: bed.router.run("sysctl", "-n", name).stdout.strip() for name in SETTINGS}
    yield
    bed.router.run("sysctl", "-w", *(f"{name}={value}" for name, value in before.items()))


@pytest.mark.parametrize("options", ["", "--read-only --tmpfs=/run"])
def test_a_run(bed: Testbed, engine: Engine, directory: Path, options: str) -> None:
    before = state(bed.router)
    with running(engine, with_options(options), directory):
        ping.answered(bed.router, V4.far(1), count=1)
        ping.answered(bed.router, V6.far(1), count=1)
        shown = engine.run("podman exec router tunrouter --version", directory)
        assert shown == f"tunrouter {__version__}\n"
        assert "office" in engine.run("podman exec router tunrouter status", directory)
    changed = set(before.splitlines()) ^ set(state(bed.router).splitlines())
    assert {each.partition(":")[0] for each in changed} <= OF_THE_ENGINE


def test_what_selftest_names_is_what_the_page_has(engine: Engine, directory: Path) -> None:
    """Started with nothing but the device: the remedies are the options of the page."""
    text = engine.run(SELFTEST, directory, check=False)
    named = set(re.findall(r"--cap-add (\S+)", text))
    assert named == set(re.findall(r"--cap-add=(\S+)", RUN))
    assert "/proc/sys is read-only" in text
    assert set(re.findall(r"--sysctl (\S+)=", text)) <= set(SETTINGS)
    assert "/dev/net/tun: it can be opened" in text


def test_settings_that_do_not_suffice_are_named(engine: Engine, directory: Path) -> None:
    text = engine.run(SYSCTL.sub("", RUN), directory, check=False)
    assert READY not in text
    named = set(re.findall(r"--sysctl (\S+)=", text))
    assert named
    assert named <= set(SETTINGS)


def test_a_start_where_they_suffice(bed: Testbed, engine: Engine, directory: Path) -> None:
    bed.router.run("sysctl", "-w", *(f"{name}={value}" for name, value in SETTINGS.items()))
    with running(engine, SYSCTL.sub("", RUN), directory):
        ping.answered(bed.router, V4.far(1), count=1)


def test_answers_are_counted_where_the_profile_allows_it(engine: Engine, directory: Path) -> None:
    """As the page says: with `bpf` among the system calls that are allowed."""
    profile = json.loads(PROFILE.read_text(encoding="utf-8"))
    for each in profile["syscalls"]:
        each["names"] = [name for name in each["names"] if name != "bpf"]
    profile["syscalls"] = [each for each in profile["syscalls"] if each["names"]]
    profile["syscalls"].append({"names": ["bpf"], "action": "SCMP_ACT_ALLOW"})
    file = directory / "seccomp.json"
    file.write_text(json.dumps(profile), encoding="utf-8")
    with running(engine, with_options(f"--security-opt=seccomp={file}"), directory) as run:
        assert REFUSED not in run.stderr


def with_options(options: str) -> str:
    return RUN.replace("run --rm", f"run --rm {options}")


@contextmanager
def running(engine: Engine, line: str, directory: Path) -> Iterator[Process]:
    """From a line of the page, stopped by the engine."""
    run = engine.start(line, directory)
    try:
        run.wait_for_output(READY)
        yield run
        engine.run("podman stop router", directory)
        assert run.wait() == 0
        assert "stopped:" in run.stderr
    finally:
        run.close()
