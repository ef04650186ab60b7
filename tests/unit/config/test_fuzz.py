"""For any bytes, loading returns a Config or problems and never raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from router.config.loader import Loaded, load
from tests.unit.examples import examples

GOLDEN = Path(__file__).parent / "golden"
FUZZ = settings(max_examples=examples(200), suppress_health_check=list(HealthCheck))

WORDS = ["version", "tun", "name", "address", "mtu", "policies", "rules", "default", "type"]
WORDS += ["interface", "on_down", "cidr", "file", "policy", "protocol", "port", "direct", "vpn"]
WORDS += [
    "home",
    "office",
    "bypass",
    "drop",
    "socks5",
    "10.0.0.0/8",
    "fd00::/8",
    "1.2",
    "rules.yaml",
]
WORDS += ["tcp", "80-90", "1", "1500", "null", "~", "<<", ".", "\0", "../x", "no"]

scalars = st.one_of(st.sampled_from(WORDS), st.none(), st.booleans(), st.integers(), st.text())
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)
policies = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("type", "interface", "on_down", "path"), values)
)
rules = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("cidr", "file", "policy", "protocol", "port"), values)
)
files = st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={
        "tun": values,
        "policies": st.dictionaries(st.sampled_from(WORDS), policies | values, max_size=3),
        "rules": st.lists(rules | values, max_size=4),
        "default": values,
    },
)
PUNCTUATION = ["\n", "\n  ", "\n  - ", ": ", "{", "}", "[", "]", ", ", "'", '"', "&a ", "*a", "#"]
PUNCTUATION += ["- ", "? ", "| ", "> ", "!!str ", "! ", "%YAML 1.1\n", "---\n", "...\n", "\t"]
PUNCTUATION += ["\r\n", "\ufeff", "é", "\u2028", "\\", "@", "`", "::"]


def checked(directory: Path, data: bytes) -> Loaded:
    """Load and render with both parsers; assert what holds for every outcome."""
    path = directory / "rules.yaml"
    path.write_bytes(data)
    for pure_python in (True, False):
        loaded = load(path, pure_python=pure_python)
        errors = [problem for problem in loaded.problems if problem.severity == "error"]
        assert (loaded.config is None) == bool(errors)
        lines = (
            data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        )
        for problem in loaded.problems:
            assert problem.place is not None
            assert 1 <= problem.place.line <= max(1, len(lines))
            assert 1 <= problem.place.column <= len(lines[problem.place.line - 1]) + 1
            assert problem.message
            assert problem.help
            text = problem.as_text(loaded.sources)
            assert text.replace("\n", "").replace("\t", "").isprintable()
            assert "\n" not in problem.as_github()
            json.dumps(problem.as_json())
    return loaded


@FUZZ
@given(st.binary(max_size=200))
@example(b"\xff\xfev\0e\0")
@example(b"%YAML 9" + b"9" * 5000 + b".1\n---\na")
@example(b"%YAML 1.99999999999\n---\na: 1")
@example(b'"\\UFFFFFFFF"')
@example(b'"\\uD800"')
@example(b'default: "\\uD800"')
@example(b'policies: {a: {interface: "\\uD800"}}')
@example(b'rules: [{file: "\\uD800"}, {cidr: "\\uD800", protocol: "\\uD800", port: "\\uD800"}]')
@example(b"version: 1\nrules: [*a]")
@example(b"version: 1\r\ndefault: |\r\n  x\r\n")
def test_arbitrary_bytes(tmp_path: Path, data: bytes) -> None:
    checked(tmp_path, data)


@FUZZ
@given(st.lists(st.sampled_from(WORDS + PUNCTUATION), max_size=30).map("".join))
def test_arbitrary_pieces_of_yaml(tmp_path: Path, text: str) -> None:
    checked(tmp_path, text.encode())


@FUZZ
@given(files, st.booleans())
def test_arbitrary_structures(tmp_path: Path, value: Any, flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    checked(tmp_path, text.encode())


@FUZZ
@given(
    st.sampled_from(sorted(GOLDEN.glob("*.yaml"))),
    st.integers(0, 2000),
    st.integers(0, 20),
    st.binary(max_size=4),
)
def test_damaged_files(tmp_path: Path, original: Path, at: int, gone: int, new: bytes) -> None:
    data = original.read_bytes()
    at %= len(data) + 1
    checked(tmp_path, data[:at] + new + data[at + gone :])
