"""The program that rereads the rules, run as the guard runs it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from router.config.loader import load
from router.engine.reload.chunked_pickle import ChunkedUnpickler
from router.engine.reload.compiled import Reread
from router.engine.reload.reread import command
from router.policy.match.table import RuleSet
from router.policy.prefixes import HOST_MASKS

RULES = """
version: 1
policies:
  office: {type: vpn, interface: wg0}
rules:
  - {file: list.txt, policy: office}
  - {cidr: "2001:db8::/32", protocol: tcp, port: 443, policy: office}
  - {cidr: 10.0.0.0/8, policy: drop}
default: reject
"""
NETWORKS = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(0, 3000, 2)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "list.txt").write_text("\n".join(NETWORKS) + "\n", encoding="utf-8")
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    return tmp_path / "rules.yaml"


def reread(file: Path) -> Reread:
    done = subprocess.run(command(file), capture_output=True, check=True)
    assert done.stderr == b""
    assembly = ChunkedUnpickler()
    assembly.take(done.stdout)
    assert assembly.complete
    assert isinstance(assembly.value, Reread)
    return assembly.value


def test_the_compiled_rules_decide_as_the_file_does(file: Path) -> None:
    compiled = reread(file).compiled
    config = load(file).config
    assert compiled is not None
    assert config is not None
    rules = RuleSet.build(config)
    for number in range(3000):
        address = 10 << 24 | number << 8 | 7
        assert compiled.rules.decide(4, address, 6) == rules.decide(4, address, 6)
    for port in (80, 443):
        address = 0x20010DB8 << 96
        assert compiled.rules.decide(6, address, 6, port) == rules.decide(6, address, 6, port)
    assert [rule.text for rule in compiled.config.rules] == [rule.text for rule in config.rules]
    assert not any(rule.prefixes or rule.lists for rule in compiled.config.rules)
    covered = sum(HOST_MASKS[4][route.length] + 1 for route in compiled.plan.routes[:2])
    assert covered == 1 << 32, "the default is reject, so everything is captured"


def test_a_missing_list_is_a_problem_in_text(file: Path) -> None:
    file.with_name("list.txt").unlink()
    result = reread(file)
    assert result.compiled is None
    text = result.problems.text
    assert f"{file}:6:12: error[missing-list]: there is no list file 'list.txt'" in text
    assert "\n           ^^^^^^^^\nhelp: " in text


def test_a_pipe_closed_by_its_reader_prints_no_error(file: Path) -> None:
    output, into = os.pipe()
    os.close(output)
    done = subprocess.run(command(file), stdout=into, stderr=subprocess.PIPE, check=False)
    os.close(into)
    assert done.stderr == b""


def test_one_that_was_given_up_ends(file: Path) -> None:
    """Whatever it waits for: here, that its output is read."""
    networks = (f"10.{number >> 8}.{number & 255}.1" for number in range(60_000))
    (file.parent / "list.txt").write_text("\n".join(networks))
    program = [*command(file)]
    at = program.index("-m")
    short = f"import {program[at + 1]} as program; program.LIFETIME = 3; program.main()"
    with subprocess.Popen(
        [*program[:at], "-c", short, str(file)], stdout=subprocess.PIPE
    ) as started:
        assert started.wait(timeout=60) == -signal.SIGALRM
