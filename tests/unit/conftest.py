"""Settings of all property tests: the same examples in every run, unless there are to be others
each time, and no deadline."""

from __future__ import annotations

from hypothesis import settings

from tests.unit.examples import TIMES, examples

settings.register_profile(
    "tunrouter", derandomize=not TIMES, deadline=None, max_examples=examples(100)
)
settings.load_profile("tunrouter")
