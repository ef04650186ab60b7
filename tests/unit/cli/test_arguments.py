"""Invalid arguments: the messages are the project's and do not depend on argparse's wording."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import pytest

from router.cli.completion.tree import read, walk
from router.cli.parser import parser
from router.cli.program import main

FAULTS = [
    ([], "tunrouter: error: COMMAND is missing: see tunrouter --help"),
    (["chek"], "tunrouter: error: there is no command 'chek': did you mean 'check'?"),
    (["?"], "tunrouter: error: there is no command '?': see tunrouter --help"),
    (["--verson"], "tunrouter: error: there is no option '--verson': did you mean '--version'?"),
    (["--", "--"], "tunrouter: error: there is no command '--': see tunrouter --help"),
    (
        ["explain", "--jsno"],
        "tunrouter explain: error: there is no option '--jsno': did you mean '--json'?",
    ),
    (
        ["explain", "-cx"],
        "tunrouter explain: error: DEST is missing: see tunrouter explain --help",
    ),
    (
        ["explain", "--", "-1.2.3.4", "-c", "x"],
        "tunrouter explain: error: the option '-c' comes after '--': write it before",
    ),
    (
        ["explain", "--", "a", "--format"],
        "tunrouter explain: error: the argument '--format' is one too many: "
        "see tunrouter explain --help",
    ),
    (["check", "-c", ""], "tunrouter check: error: -c/--config cannot be '': name a file"),
    (["lists", "merge", ""], "tunrouter lists merge: error: FILE cannot be '': name a file"),
    (
        ["lists", "diff", "", "-"],
        "tunrouter lists diff: error: OLD cannot be '': name a file",
    ),
    (["--", "-x"], "tunrouter: error: there is no command '-x': see tunrouter --help"),
    ([""], "tunrouter: error: there is no command '': see tunrouter --help"),
    (
        ["reload", "--verbose"],
        "tunrouter reload: error: there is no option '--verbose': see tunrouter reload --help",
    ),
    (
        ["check", "--fromat=json"],
        "tunrouter check: error: there is no option '--fromat': did you mean '--format'?",
    ),
    (
        ["check", "--form=json"],
        "tunrouter check: error: there is no option '--form': did you mean '--format'?",
    ),
    (
        ["check", "rules.yaml"],
        "tunrouter check: error: the argument 'rules.yaml' is one too many: "
        "see tunrouter check --help",
    ),
    (
        ["check", "--format", "xml"],
        "tunrouter check: error: --format cannot be 'xml': choose from text, json, github",
    ),
    (
        ["check", "--format"],
        "tunrouter check: error: --format needs a value: see tunrouter check --help",
    ),
    (["run", "-c"], "tunrouter run: error: -c/--config needs a value: see tunrouter run --help"),
    (
        ["status", "--json=1"],
        "tunrouter status: error: --json takes no value: see tunrouter status --help",
    ),
    (
        ["flows", "--protocol", "tpc"],
        "tunrouter flows: error: --protocol cannot be 'tpc': choose from icmp, tcp, udp",
    ),
    (
        ["flows", "--rule=-1"],
        "tunrouter flows: error: --rule cannot be '-1': a rule is a number, as `status` shows it; "
        "0: the default",
    ),
    (
        ["flows", "--sort", "rtt"],
        "tunrouter flows: error: --sort cannot be 'rtt': choose from bytes, age, idle",
    ),
    (["explain"], "tunrouter explain: error: DEST is missing: see tunrouter explain --help"),
    (
        ["explain", "192.0.2.1", "--port", "http"],
        "tunrouter explain: error: --port cannot be 'http': a port is a number from 1 to 65535",
    ),
    (
        ["explain", "192.0.2.1", "--port=-1"],
        "tunrouter explain: error: --port cannot be '-1': a port is a number from 1 to 65535",
    ),
    (
        ["import", "loon", "a.conf"],
        "tunrouter import: error: KIND cannot be 'loon': choose from clash, surge, sing-box",
    ),
    (["import"], "tunrouter import: error: KIND FILE is missing: see tunrouter import --help"),
    (
        ["init", "-o", ""],
        "tunrouter init: error: -o/--output cannot be '': name a file",
    ),
    (["service"], "tunrouter service: error: KIND is missing: see tunrouter service --help"),
    (
        ["service", "upstart"],
        "tunrouter service: error: KIND cannot be 'upstart': choose from systemd, launchd",
    ),
]


COMMANDS = [path for path, command in walk(read(parser())) if path and not command.commands]


def usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert not output.out
    return output.err


@pytest.mark.parametrize(("arguments", "message"), FAULTS)
def test_faults(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error(arguments, capsys) == message + "\n"


@pytest.mark.parametrize(("arguments", "message"), FAULTS)
def test_the_wording_of_argparse_changes_nothing(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = argparse.ArgumentError

    class WordedOtherwise(original):  # type: ignore[valid-type,misc]
        def __init__(self, argument: Any, _message: str) -> None:
            super().__init__(argument, "worded otherwise")

    monkeypatch.setattr(argparse, "ArgumentError", WordedOtherwise)
    assert usage_error(arguments, capsys) == message + "\n"


def test_the_arguments_of_the_process(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["tunrouter", "chek"])
    with pytest.raises(SystemExit):
        main()
    assert "there is no command 'chek'" in capsys.readouterr().err


def test_a_command_may_follow_two_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--", "schema"]) == 0
    assert capsys.readouterr().out.startswith("{")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, part in [
        (["--help"], "explain"),
        (["check", "-h"], "--strict"),
        (["--version"], "tunrouter "),
    ]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert part in capsys.readouterr().out


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_arguments_that_make_no_sense_end_every_command_with_2(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    error = usage_error([*path, "--no-such-option"], capsys)
    assert error.startswith(f"tunrouter {' '.join(path)}: error: ")
