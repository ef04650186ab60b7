"""`tunrouter import`: output, notes and exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from router.cli import main

PROGRAM = [sys.executable, "-m", "router.cli"]
NO_NAME = "a\udcff" if sys.platform == "linux" else "aÿ"
"""Of no file; where file systems have other names than those of UTF-8, such a one."""
CLASH = """\
proxies:
  - {name: p, type: socks5, server: 192.0.2.1, port: 1, username: me, password: hidden, udp: true}
rules:
  - DOMAIN,example.org,p
  - IP-CIDR,10.0.0.0/8,p
  - MATCH,DIRECT
"""


@pytest.fixture(autouse=True)
def _in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(CLASH)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Of a command, exit status, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        return status, *capsys.readouterr()

    return run


def test_rules_and_notes(run: Run) -> None:
    status, output, errors = run("import", "clash", "config.yaml")
    assert status == 0
    assert '  p: {type: socks5, server: "192.0.2.1:1", username: me, password_env: P_PASSWORD}' in (
        output.splitlines()
    )
    assert "hidden" not in output + errors
    assert errors.splitlines() == [
        "config.yaml:2: changed: the password of p: is not written: set the variable P_PASSWORD "
        "for the router, or put the password into a file that only its owner can read and name "
        "that with password_file",
        "config.yaml:4: not taken over: DOMAIN,example.org,p: it matches names, and rules here "
        "match addresses",
        "rules taken over: 1; lines changed: 1; lines not taken over: 1",
    ]
    Path("rules.yaml").write_text(output)
    assert run("check")[0] == 0


def test_a_new_file(run: Run) -> None:
    status, output, _ = run("import", "clash", "config.yaml", "-o", "rules.yaml")
    assert (status, output) == (0, "")
    assert run("import", "clash", "config.yaml")[1] == Path("rules.yaml").read_text()
    assert Path("rules.yaml").stat().st_mode & 0o777 & ~0o644 == 0


def test_a_file_is_never_overwritten(run: Run) -> None:
    Path("rules.yaml").write_text("mine")
    Path("link").symlink_to("nowhere")
    for name in ("rules.yaml", "link"):
        status, output, errors = run("import", "clash", "config.yaml", "-o", name)
        assert (status, output) == (1, "")
        assert errors == (
            f"tunrouter import: {name} exists already and is never overwritten: name another file "
            "with -o, or move it away\n"
        )
    assert Path("rules.yaml").read_text() == "mine"
    assert not Path("nowhere").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("clash", "none.yaml"), "the configuration none.yaml does not exist"),
        (("surge", "."), "the configuration . is a directory"),
        (("clash", NO_NAME), "does not exist"),
        (("sing-box", "config.yaml"), "config.yaml:1:1: error[json-syntax]: 'proxies' is no value"),
        (("clash", "config.yaml", "-o", "no/rules.yaml"), "there is no such directory"),
        (("clash", "config.yaml", "-o", "/proc/rules.yaml"), "/proc/rules.yaml"),
        (("clash", "latin.yaml"), "error[bad-encoding]: the byte 0xe9 is not UTF-8"),
    ],
)
def test_failures(run: Run, arguments: tuple[str, ...], message: str) -> None:
    Path("latin.yaml").write_bytes("# é\n".encode("latin-1"))
    status, output, errors = run("import", *(os.fsdecode(os.fsencode(each)) for each in arguments))
    assert (status, output) == (1, "")
    assert message in errors


def test_a_disk_that_is_full() -> None:
    """Nothing of the file is left."""
    script = 'ulimit -f 0; trap "" XFSZ; exec "$@"'
    command = [
        "bash",
        "-c",
        script,
        "bash",
        *PROGRAM,
        "import",
        "clash",
        "config.yaml",
        "-o",
        "new",
    ]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 1
    assert b"nothing of it is left" in done.stderr
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("program", "text", "output"),
    [
        ("clash", "", "default: bypass\n"),
        ("surge", CLASH, ""),
        ("sing-box", "{}", "default: bypass\n"),
    ],
)
def test_a_file_of_which_nothing_is_taken_over(
    run: Run, program: str, text: str, output: str
) -> None:
    Path("config.yaml").write_text(text)
    status, made, errors = run("import", program, "config.yaml")
    assert (status, made.endswith(output)) == (0, True)
    question = f"nothing was taken over: is config.yaml a configuration of {program}?"
    assert errors.splitlines()[-1] == question


def test_a_default_alone_is_something(run: Run) -> None:
    Path("config.yaml").write_text("rules: ['MATCH,REJECT']")
    assert run("import", "clash", "config.yaml")[2].endswith("lines not taken over: 0\n")
