"""Settings of all property tests: the same examples in every run, without a deadline."""

from __future__ import annotations

from hypothesis import settings

from tests.unit.examples import examples

settings.register_profile("seeded", derandomize=True, deadline=None, max_examples=examples(100))
settings.load_profile("seeded")
