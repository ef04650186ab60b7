"""What is too large is refused by name, with the place and the remedy; the bounds are lowered here.

Files of the size of the real bounds are too slow for a test: docs/limits.md has what was measured.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from router.cli import main
from router.config import bounds, document, fields, list_lines, lists, reading
from router.config.lists_alone import read_lists
from router.config.loader import RulesFileUnreadable, load

RULES = "version: 1\nrules:\n  - {file: FILE, policy: drop}\n"
LIMITS = Path(__file__).parents[3] / "docs/limits.md"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def shown(content: bytes, name: str = "list.txt") -> str:
    """The problems of rules with a list, as text."""
    Path(name).write_bytes(content)
    Path("rules.yaml").write_text(RULES.replace("FILE", name))
    loaded = load("rules.yaml")
    assert loaded.config is None
    return "\n".join(problem.as_text(loaded.sources) for problem in loaded.problems)


def expected(code: str, message: str, remedy: str, name: str = "list.txt") -> str:
    return (
        f"rules.yaml:3:12: error[{code}]: {message}\n"
        f"  - {{file: {name}, policy: drop}}\n"
        f"           {'^' * len(name)}\n"
        f"help: {remedy}"
    )


def test_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_lines, "LINES", 1000)
    text = shown(gzip.compress(b"\n" * 100_000), "list.gz")
    message = "the lists, up to line 100,000 of 'list.gz', have more than 1,000 lines"
    assert text == expected("list-too-long", message, list_lines.SHORTEN, "list.gz")


def test_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_lines, "NETWORKS", 100)
    message = "the lists, up to line 101 of 'list.txt', have more than 100 networks"
    assert shown(b"10.0.0.1\n" * 101) == expected("too-many-networks", message, list_lines.JOIN)
    assert shown(b"fd00::1\n" * 101) == expected("too-many-networks", message, list_lines.JOIN)


def test_networks_of_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted one by one, and before further lines are read."""
    monkeypatch.setattr(list_lines, "NETWORKS", 100)
    message = "the lists, up to line 2 of 'list.txt', have more than 100 networks"
    text = shown(b"0.0.0.1-255.255.255.254\n" * 9)
    assert text == expected("too-many-networks", message, list_lines.JOIN)


def test_networks_of_all_lists_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_lines, "NETWORKS", 100)
    for name in ("a.txt", "b.txt", "c.txt"):
        Path(name).write_text("10.0.0.1\n" * 60)
    (problem,) = (
        each
        for each in load(_rules("[a.txt, b.txt, c.txt]")).problems
        if each.code != "duplicate-cidr"
    )
    assert problem.code == "too-many-networks"
    assert "up to line 60 of 'b.txt'" in problem.message


def _rules(files: str) -> str:
    Path("rules.yaml").write_text(RULES.replace("FILE", files))
    return "rules.yaml"


@pytest.mark.parametrize("zipped", [False, True])
def test_bytes_of_a_list(monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    monkeypatch.setattr(lists, "LIST_BYTES", 1000)
    content, name = b"# comment\n" * 101, "list.txt"
    if zipped:
        content, name = gzip.compress(content), "list.gz"
    unpacked = "unpacked " if zipped else ""
    message = f"the list '{name}' has more than 1,000 {unpacked}bytes"
    assert shown(content, name) == expected("list-too-large", message, lists.SPLIT, name)


def test_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_lines, "SECONDS", -1.0)
    message = "the lists, up to line 1 of 'list.txt', have more than -1 seconds to read"
    assert shown(b"10.0.0.1\n") == expected("list-too-slow", message, list_lines.DISK)


def test_bytes_of_a_rules_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "RULES_BYTES", 1000)
    Path("rules.yaml").write_text("#" * 1001)
    with pytest.raises(RulesFileUnreadable) as caught:
        load("rules.yaml")
    (problem,) = caught.value.problems
    assert problem.as_line() == (
        "error[rules-too-large]: the rules file rules.yaml has more than 1,000 bytes; "
        "put its networks into list files and name them with 'file:'"
    )


def test_a_rules_file_of_4_gb_is_not_read() -> None:
    with Path("rules.yaml").open("wb") as file:
        file.truncate(4 << 30)  # without a block on the disk
    with pytest.raises(RulesFileUnreadable, match="has more than"):
        load("rules.yaml")


def test_a_file_without_end_whose_size_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(reading, "RULES_BYTES", 1000)
    os.write(writer, b"#" * 2000)
    try:
        with pytest.raises(RulesFileUnreadable, match="more than 1,000 bytes"):
            load(f"/dev/fd/{reader}")
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("pure_python", [False, True])
def test_values(monkeypatch: pytest.MonkeyPatch, pure_python: bool) -> None:
    monkeypatch.setattr(document, "VALUES", 10)
    Path("rules.yaml").write_text("version: 1\nrules: [a, a, a, a, a, a, a]\n")
    (problem,) = load("rules.yaml", pure_python=pure_python).problems
    assert problem.as_line() == (
        "rules.yaml:2:24: error[too-many-values]: the rules file has more than 10 values up to "
        "here; put its networks into list files and name them with 'file:'"
    )


@pytest.mark.parametrize("pure_python", [False, True])
def test_repeated_values(monkeypatch: pytest.MonkeyPatch, pure_python: bool) -> None:
    monkeypatch.setattr(document, "REPEATED", 10)
    Path("rules.yaml").write_text("version: 1\nrules: [&a [b, c, d], *a, *a, *a]\n")
    (problem,) = load("rules.yaml", pure_python=pure_python).problems
    assert problem.as_line() == (
        "rules.yaml:2:31: error[too-many-values]: the aliases up to here repeat more than 10 "
        "values; put long lists into list files and name them with 'file:'"
    )


def test_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "PROBLEMS", 3)
    Path("rules.yaml").write_text("version: 1\nrules: [a, a, a, a, a, a, a]\n")
    loaded = load("rules.yaml")
    assert loaded.config is None
    assert [problem.code for problem in loaded.problems] == ["wrong-type"] * 3 + [
        "too-many-problems"
    ]
    assert loaded.problems[-1].as_line() == (
        "rules.yaml:2:18: error[too-many-problems]: more than 3 errors: what follows has not been "
        "read; is this the file that was meant? mend these first"
    )


def test_many_warnings_keep_nothing_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "PROBLEMS", 3)
    rule = "  - {cidr: 10.0.0.1/8, policy: drop, protocol: PROTOCOL}\n"
    lines = [rule.replace("PROTOCOL", name) for name in ("tcp", "udp", "icmp", "[tcp, udp]")] * 2
    Path("rules.yaml").write_text("version: 1\nrules:\n" + "".join(lines))
    loaded = load("rules.yaml")
    assert loaded.config is not None
    assert [problem.code for problem in loaded.problems].count("host-bits-set") == 3
    assert "too-many-problems" in [problem.code for problem in loaded.problems]


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_every_form_of_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    monkeypatch.setattr(list_lines, "LINES", 10)
    shown(b"\n" * 11)
    assert main(["check", "--format", form]) == 1
    printed = capsys.readouterr().out
    if form == "json":
        (problem,) = json.loads(printed)["problems"]
        assert (problem["code"], problem["line"], problem["column"]) == ("list-too-long", 3, 12)
    else:
        assert "list-too-long" in printed


def test_lists_that_no_rules_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_lines, "NETWORKS", 100)
    Path("list.txt").write_text("10.0.0.1\n" * 101)
    (problem,) = read_lists(["list.txt"]).problems
    assert problem.code == "too-many-networks"


# Memory

LIMITED = """
import resource, sys
from router.cli import main
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="others do not obey RLIMIT_AS")
@pytest.mark.parametrize(("kind", "form"), [("rules", "text"), ("list", "json")])
def test_without_memory_there_is_a_message_and_no_traceback(kind: str, form: str) -> None:
    if kind == "rules":
        cidrs = ", ".join(f"10.{n >> 8 & 255}.{n & 255}.0/24" for n in range(400_000))
        rules = f"version: 1\nrules:\n  - {{cidr: [{cidrs}], policy: drop}}\n"
        Path("rules.yaml").write_text(rules)
    else:
        Path("list.txt").write_text("fd00::1\n" * 2_000_000)
        _rules("list.txt")
    arguments = [str(130 << 20), "check", "--format", form]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stdout[-500:]
    assert done.stderr == ""
    assert "out-of-memory" in done.stdout
    if form == "json":
        assert json.loads(done.stdout)["plan"] is None


# The documents


def test_the_figures_are_as_documented() -> None:
    text = LIMITS.read_text(encoding="utf-8")
    for number in (
        *(bounds.LINES, bounds.NETWORKS, bounds.VALUES, bounds.REPEATED, bounds.PROBLEMS),
    ):
        assert f"{number:,}" in text
    for size in (bounds.RULES_BYTES, bounds.LIST_BYTES):
        assert re.search(rf"\b{size // bounds.MIB} MiB", text)
    assert f"{bounds.SECONDS:.0f} s" in text
