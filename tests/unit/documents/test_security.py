"""docs/security.md: its figures, and the tests that it names."""

from __future__ import annotations

import re
from pathlib import Path

from router.platform.base.starts import START_BURST, STARTS_PER_SECOND
from router.platform.linux.sandbox.calls import ALLOWED, CHECKED, MACHINES
from router.platform.privileged.prefix_records import RECORD

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/security.md").read_text(encoding="utf-8")


def test_the_tests_that_it_names_are_there() -> None:
    named = set(re.findall(r"`(?:tests/[\w/]*/)?(test_\w+\.py)`", TEXT))
    assert len(named) > 20
    assert named <= {each.name for each in (ROOT / "tests").rglob("test_*.py")}
    for path in re.findall(r"`(tests/[\w/.]+)`", TEXT):
        assert (ROOT / path).exists(), path


def test_the_number_of_system_calls() -> None:
    first, second = (
        sum(call[MACHINES[machine].column] is not None for call in {**ALLOWED, **CHECKED}.values())
        for machine in ("x86_64", "aarch64")
    )
    assert f"those {first} ({second}) that" in TEXT


def test_the_bounds_of_requests() -> None:
    assert f"routes of {RECORD.size} bytes" in TEXT
    assert f"{START_BURST} readers or watchers in a row and then {STARTS_PER_SECOND:g} a" in TEXT
