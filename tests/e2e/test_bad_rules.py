"""Bad rules, no rules, no root: a clear error, the right exit code, and nothing changed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.e2e.snapshot import state
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import PROGRAM, rules, run_to_end, write_rules

# A user without privileges but with the right to read files: the checkout may belong to root.
UNPRIVILEGED = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)

# The bad value of each is marked by @ before it.
BAD = {
    "unknown policy": "rules:\n  - {cidr: 198.51.100.1, policy: @hoem}\n",
    "bad CIDR": "rules:\n  - {cidr: @198.51.100.300, policy: home}\n",
    "one bad CIDR of three": "rules:\n  - {cidr: [10.0.0.0/8, @10.0.0.0/33], policy: home}\n",
    "unknown key": "rules:\n  - {cidr: 198.51.100.1, @polcy: home}\n",
    "wrong type": "tun: {mtu: @large}\n",
    "unknown default": "default: @hoem\n",
}
POLICIES = "version: 1\npolicies:\n  home: {type: direct, interface: eth0}\n"


def _place_of_mark(text: str) -> tuple[str, str]:
    """The text without its mark, and `line:column` of where the mark was."""
    before, _, after = text.partition("@")
    line = before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    return before + after, f"{line}:{column}"


def _interface_number(bed: Testbed) -> int:
    """The number that the next interface gets; reading it uses up two, for both ends of a veth.

    Interfaces are numbered in the order they are made: a gap shows that one was made and removed.
    """
    bed.router.ip("link add probe0 type veth peer name probe1")
    number = int(bed.router.run("cat", "/sys/class/net/probe0/ifindex").stdout)
    bed.router.ip("link del probe0")
    return number


@pytest.mark.parametrize("case", BAD)
def test_bad_rules_are_refused_before_anything_is_changed(
    bed: Testbed, tmp_path: Path, case: str
) -> None:
    text, place = _place_of_mark(POLICIES + BAD[case])
    rules_file = write_rules(tmp_path, text)
    before = state(bed.router)
    number = _interface_number(bed)
    ended = run_to_end(bed.router, "run", "-c", str(rules_file))
    assert ended.exit_code == 2, ended.log
    assert f"rules.yaml:{place}: error[" in ended.log
    assert _interface_number(bed) == number + 2, "an interface was made"
    assert state(bed.router) == before


def test_broken_yaml_names_the_line(bed: Testbed, tmp_path: Path) -> None:
    rules_file = write_rules(tmp_path, "version: 1\nrules: [\n")
    ended = run_to_end(bed.router, "run", "-c", str(rules_file))
    assert ended.exit_code == 2, ended.log
    assert re.search(r"rules\.yaml:[23]:\d+: error\[", ended.log), ended.log


def test_a_missing_file_is_named(bed: Testbed, tmp_path: Path) -> None:
    missing = tmp_path / "absent.yaml"
    before = state(bed.router)
    ended = run_to_end(bed.router, "run", "-c", str(missing))
    assert ended.exit_code == 2, ended.log
    assert "absent.yaml" in ended.log
    assert state(bed.router) == before


def test_rules_that_others_can_write_are_refused_with_the_remedy(
    bed: Testbed, tmp_path: Path
) -> None:
    rules_file = write_rules(tmp_path, rules("198.51.100.1 -> home"))
    os.chown(rules_file, 65534, 65534)
    before = state(bed.router)
    ended = run_to_end(bed.router, "run", "-c", str(rules_file))
    assert ended.exit_code == 2, ended.log
    assert "error[untrusted-file]" in ended.log
    assert f"chown root {rules_file}" in ended.log
    assert state(bed.router) == before


def test_without_root_the_error_names_root(bed: Testbed, tmp_path: Path) -> None:
    rules_file = write_rules(tmp_path, rules("198.51.100.1 -> home"))
    before = state(bed.router)
    ended = run_to_end(bed.router, "run", "-c", str(rules_file), prefix=UNPRIVILEGED)
    assert ended.exit_code == 1, ended.log
    assert "root" in ended.log
    assert state(bed.router) == before


def test_the_program_of_this_checkout_is_run() -> None:
    assert Path(PROGRAM).exists(), f"{PROGRAM} is missing: make e2e installs it"
