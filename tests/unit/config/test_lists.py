"""List files: their syntax, their problems, and how they are read."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.config.list_lines import REPORTED
from router.config.loader import Loaded, load
from router.config.model import PrefixList
from router.config.packed import LENGTH_BITS
from tests.unit.examples import examples

RULES = "version: 1\nrules:\n  - {file: list.txt, policy: drop}\n"


def load_list(directory: Path, content: bytes, name: str = "list.txt") -> Loaded:
    (directory / name).write_bytes(content)
    rules = directory / "rules.yaml"
    rules.write_text(RULES.replace("list.txt", name))
    return load(rules)


def the_list(result: Loaded) -> PrefixList:
    assert result.config is not None, result.problems
    (found,) = result.config.rules[0].lists
    return found


def networks(found: PrefixList) -> list[tuple[str, int]]:
    """All networks of a list as text with their lines, IPv4 first."""
    result = []
    for version, lines in ((4, found.lines_v4), (6, found.lines_v6)):
        for packed, line in zip(found.packed(version), lines, strict=True):
            first, length = packed >> LENGTH_BITS, packed & 0xFF
            address = first.to_bytes(4 if version == 4 else 16, "big")
            result.append((str(ip_network((address, length))), line))
    return result


def test_comments_blanks_hosts_and_both_families(tmp_path: Path) -> None:
    content = b"# head\n10.0.0.0/8\n\n  192.0.2.1 # one\n\tfd00::/8#x\nfd01::1\n0.0.0.0/0"
    result = load_list(tmp_path, content)
    assert result.problems == []
    found = the_list(result)
    assert found.file == str(tmp_path / "list.txt")
    assert networks(found) == [
        ("10.0.0.0/8", 2),
        ("192.0.2.1/32", 4),
        ("0.0.0.0/0", 7),
        ("fd00::/8", 5),
        ("fd01::1/128", 6),
    ]
    assert found.place(6, 1).line == 6


@pytest.mark.parametrize("suffix", ["txt", "gz"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends_byte_order_marks_and_gzip(
    tmp_path: Path, suffix: str, end: bytes, bom: bytes
) -> None:
    lines = [b"10.0.0.0/8", b"192.0.2.1", b"fd00::/8", b"fd00::1", b"# caf\xe9", b""]
    content = bom + end.join(lines) + end
    plain = networks(the_list(load_list(tmp_path, end.join(lines))))
    result = load_list(tmp_path, gzip.compress(content), f"list.{suffix}")
    assert result.problems == []
    assert networks(the_list(result)) == plain
    assert len(plain) == 4


def test_ranges_are_kept_apart_with_their_lines(tmp_path: Path) -> None:
    content = b"192.0.2.10-192.0.2.99\n10.0.0.0 - 10.255.255.255 # a network\nfd00::1\t-\tfd00::2\n"
    result = load_list(tmp_path, content)
    assert result.problems == []
    found = the_list(result)
    assert networks(found) == [("10.0.0.0/8", 2)]
    assert [(str(each), each.place.line, len(each.packed)) for each in found.ranges] == [
        ("192.0.2.10-192.0.2.99", 1, 6),
        ("fd00::1-fd00::2", 3, 2),
    ]
    assert result.config is not None
    assert len(list(result.config.rules[0].packed(4))) == 7


def test_what_a_range_needs_is_not_imported() -> None:
    """In a separate process, as the tests have imported netaddr."""
    program = """
import sys
from router.config.ranges import parse_networks
parse_networks("192.0.2.10-192.0.2.99")
assert "netaddr" not in sys.modules
try:
    parse_networks("192.0.2.10-99")
except ValueError:
    assert "netaddr" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def obviously(text: str) -> str | None:
    """The network that a text means, or None for none. Prefix lengths are plain decimal numbers."""
    tail = text.partition("/")[2]
    if "/" in text and not (tail.isdecimal() and str(int(tail)) == tail):
        return None
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        return None


list_lines = st.one_of(
    st.builds("{}/{}".format, st.ip_addresses(v=4), st.integers(0, 40)),
    st.builds("{}/{}".format, st.ip_addresses(v=6), st.integers(0, 140)),
    st.ip_addresses().map(str),
    st.text("0123456789abcdef./:# \t\r", max_size=20),
)


@settings(
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(list_lines, max_size=12))
def test_every_line_is_a_network_a_problem_or_nothing(tmp_path: Path, lines: list[str]) -> None:
    """Compared with reading each line by the standard library."""
    expected, bad = set(), set()
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        network = obviously(text)
        if network is None:
            bad.add(number)
        else:
            expected.add((network, number))
    result = load_list(tmp_path, "\n".join(lines).encode())
    reported = {p.place.line for p in result.problems if p.place and p.code == "bad-list-line"}
    assert reported == bad
    if not bad:
        assert set(networks(the_list(result))) == expected


def test_lines_keep_their_numbers_across_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.config.lists.PIECE", 7)
    lines = [f"10.{i}.0.0/16" for i in range(200)]
    found = the_list(load_list(tmp_path, "\n".join(lines).encode()))
    assert networks(found) == [(line, number) for number, line in enumerate(lines, 1)]


def test_many_bad_lines_are_counted_and_hide_no_other_problem(tmp_path: Path) -> None:
    content = b"10.0.0.1/8\n" * 300 + b"bad\n" * (REPORTED + 17)
    result = load_list(tmp_path, content)
    codes = [problem.code for problem in result.problems]
    assert codes.count("bad-list-line") == REPORTED + 1
    assert codes.count("host-bits-set") == REPORTED + 1
    assert codes.count("duplicate-cidr") == 1
    more = [problem.message for problem in result.problems if "more lines" in problem.message]
    assert [message.split()[0] for message in more] == ["17", "200"]


def test_a_list_named_by_two_rules_is_read_and_reported_once(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("10.0.0.0/8\n")
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES + "  - {file: ./list.txt, policy: reject, protocol: tcp}\n")
    result = load(rules)
    assert result.config is not None
    first, second = result.config.rules
    assert first.lists[0] is second.lists[0]
    (tmp_path / "list.txt").write_text("bad\n")
    assert [problem.code for problem in load(rules).problems] == ["bad-list-line"]


def test_paths_may_be_absolute_and_go_through_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/list.txt").write_text("10.0.0.0/8\n")
    (tmp_path / "link.txt").symlink_to("elsewhere/list.txt")
    rules = tmp_path / "rules.yaml"
    for name in ("link.txt", str(tmp_path / "elsewhere/list.txt")):
        rules.write_text(RULES.replace("list.txt", name))
        assert networks(the_list(load(rules))) == [("10.0.0.0/8", 1)]


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "list.txt").symlink_to("other.txt")
    (tmp_path / "other.txt").symlink_to("list.txt")
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    (problem,) = load(rules).problems
    assert problem.code == "list-loop"
    assert problem.place is not None
    assert (problem.place.line, problem.place.column) == (3, 12)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ('"a\\0b"', "unreadable-list"),
        ("/dev/null", "unreadable-list"),
        ("x" * 5000, "unreadable-list"),
        ("rules.yaml/list.txt", "missing-list"),
    ],
)
def test_names_that_can_not_be_lists(tmp_path: Path, name: str, code: str) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.replace("list.txt", name))
    assert [problem.code for problem in load(rules).problems] == [code]


def test_an_impossible_file_name_is_reported(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    for name in ('"a\\0b"', '"\\uD800"'):
        rules.write_text(RULES.replace("list.txt", name))
        (problem,) = load(rules, pure_python=True).problems
        assert problem.message.endswith(
            "can't be read: the path has a character that none can have"
        )


def test_an_overlong_line_is_not_read_to_its_end(tmp_path: Path) -> None:
    result = load_list(tmp_path, gzip.compress(b"\0" * (64 << 20)), "list.gz")
    (problem,) = result.problems
    assert problem.code == "unreadable-list"
    assert "line of more than" in problem.message


def test_damaged_gzip(tmp_path: Path) -> None:
    generator = random.Random(7)
    packed = bytearray(gzip.compress(generator.randbytes(4096).hex("\n").encode()))
    packed[len(packed) // 2] ^= 0xFF
    codes = {problem.code for problem in load_list(tmp_path, bytes(packed), "list.gz").problems}
    assert "unreadable-list" in codes


def test_progress_rises_to_the_total_over_all_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.config.lists.PIECE", 1000)
    sizes = 0
    for name in ("a.txt", "b.txt"):
        content = "".join(f"10.{i}.0.0/16\n" for i in range(256))
        (tmp_path / name).write_text(content)
        sizes += len(content)
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES.replace("list.txt", "[a.txt, b.txt]"))
    progress: list[tuple[int, int]] = []
    load(rules, lambda done, total: progress.append((done, total)))
    assert len(progress) > 6
    assert progress == sorted(progress)
    assert {total for _, total in progress} == {sizes}
    assert progress[-1] == (sizes, sizes)


def test_lines_of_valid_lists_can_be_shown(tmp_path: Path) -> None:
    for content in (b"10.0.0.0/8\r\nfd00::/8 # x\n", gzip.compress(b"10.0.0.0/8\nfd00::/8 # x\n")):
        result = load_list(tmp_path, content)
        file = the_list(result).file
        assert result.sources.line(file, 1) == "10.0.0.0/8"
        assert result.sources.line(file, 2) == "fd00::/8 # x"
        assert not result.sources.line(file, 3)
        assert result.sources.line("another", 1) is None
