"""The shortest soak: two reloads, floods and flaps beside mixed traffic; see tests.soak. Which
floods depends on the seed of the run, see tests.seed."""

from __future__ import annotations

from tests.seed import choose
from tests.soak.soak import soak

SECONDS = 10.0
"""The events take a little longer."""


def test_nothing_is_lost_beside_a_reload_a_flood_and_a_flap() -> None:
    soaked = soak(SECONDS, first=choose())
    assert soaked.counts["reloads"]
    assert soaked.counts["connections"]
    assert soaked.problems() == []
