"""The workflow for Linux and macOS runners: what it calls exists, and nothing is called that a
Makefile of this checkout does not have."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.unit import conftest

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / ".github" / "workflows" / "test.yml"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
ACTIONS = {"actions/checkout@v4", "actions/setup-python@v5"}
TOOLS = {"apt-get", "brew", "make"}
NEWER_THAN_MAKE_3_81 = re.compile(
    r"^define \S+ *[:?+]*=|^\w+ *!=|^\.(?:ONESHELL|SHELLFLAGS|POSIX)|\$\((?:file|let|intcmp) "
    r"|^\w+ *:::?=|^(?:private|undefine) |^[^\t#\n]*&:",
    re.MULTILINE,
)
NEWER_THAN_BASH_3_2 = re.compile(
    r"\b(?:mapfile|readarray|coproc)\b|(?:declare|local) -\w*[Ang]|wait -n|&>>|\|&|;;?&|\[-1\]"
    r"|\$\{\w+(?:,,?|\^\^?|@)"
)
VERSION = re.compile(r"[\w./-]+@v\d+")


def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    return found


def steps() -> Iterator[dict[str, Any]]:
    for job in jobs().values():
        yield from job["steps"]


def commands(script: str) -> Iterator[list[str]]:
    for line in script.splitlines():
        yield from (shlex.split(part) for part in line.split("&&"))


def test_a_job_for_each_system() -> None:
    assert set(jobs()) == {"linux", "macos"}
    runners = jobs()["macos"]["strategy"]["matrix"]["runner"]
    assert all(re.fullmatch(r"macos-\d+", each) for each in runners)
    assert all(each["timeout-minutes"] <= 60 for each in jobs().values())


def test_actions_are_known_and_have_a_version() -> None:
    used = {each["uses"] for each in steps() if "uses" in each}
    assert used == ACTIONS
    assert all(VERSION.fullmatch(each) for each in used)


def test_what_is_called_exists() -> None:
    called = [words for each in steps() if "run" in each for words in commands(each["run"])]
    assert {words[0] for words in called} <= TOOLS
    targets = {word for words in called if words[0] == "make" for word in words[1:]}
    assert targets == {"test", "check", "macos"}
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_macos_job_calls_what_is_tried_there() -> None:
    (line,) = re.findall(r"^macos:.*\n\t(.*)$", MAKEFILE, re.MULTILINE)
    assert line == "$(AS_ROOT) $(PYTHON) -m tests.macos"
    assert (ROOT / "tests" / "macos" / "__main__.py").exists()


def test_the_makefile_needs_no_debian_on_a_mac() -> None:
    """`packages` is another there, and what else calls the script that installs them is for the
    end-to-end tests of Linux and for the release check alone, which needs Debian."""
    release, before, first, axe = MAKEFILE.split("scripts/install-debian-packages")
    assert release.endswith("release-check: $(VENV)/test.stamp packages\n\t")
    assert before.endswith("else\npackages:\n\t@")
    assert (release + before).count("ifeq ($(SYSTEM),Darwin)") == 2
    assert first.endswith("$(AXE): tests/web/package-lock.json\n\t@command -v npm >/dev/null || ")
    assert axe.startswith(" npm\n")
    needed_by = [line for line in MAKEFILE.splitlines() if line.endswith("$(AXE)")]
    assert needed_by == ["e2e: $(VENV)/test.stamp packages $(AXE)"]


def test_make_and_bash_of_a_mac_can_read_what_is_called() -> None:
    """GNU make 3.81 and bash 3.2: nothing of the lists of changes since (NEWS of make, CHANGES of
    bash)."""
    assert not NEWER_THAN_MAKE_3_81.findall(MAKEFILE)
    for name in ("as-root", "make-venv"):
        script = (ROOT / "scripts" / name).read_text(encoding="utf-8")
        assert not NEWER_THAN_BASH_3_2.findall(script), name
        arrays = re.findall(r"^ *(\w+)=\(\)", script, re.MULTILINE)
        assert not arrays, "one without elements is unset there (set -u)"
    newer = "define A =\n.ONESHELL:\nA != date\n$(file >a)\nA ::= b\nundefine A\na b &: c\n"
    assert len(NEWER_THAN_MAKE_3_81.findall(newer)) == 7
    assert NEWER_THAN_BASH_3_2.findall("mapfile ${a,,} &>>") == ["mapfile", "${a,,", "&>>"]


def test_tests_that_need_linux_are_left_out_elsewhere() -> None:
    """No test that is left imports anything of Linux, nor does what it names: the run on a fake Mac
    has a kqueue over epoll, and is a program of its own."""
    left = [each for each in conftest.HERE.rglob("test_*.py") if not conftest.needs_linux(each)]
    assert len(left) > 100
    assert conftest.HERE / "darwin" / "test_run.py" not in left
    assert conftest.HERE / "darwin" / "test_routes.py" in left
    for path in left:
        if path.is_relative_to(conftest.HERE / "platform"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("router.platform.linux"), path
