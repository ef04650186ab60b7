"""The shortest soak: one reload, one flood and one flap beside mixed traffic; see tests.soak."""

from __future__ import annotations

from tests.soak.soak import soak

SECONDS = 5.0
"""The three events take a little longer."""


def test_nothing_is_lost_beside_a_reload_a_flood_and_a_flap() -> None:
    soaked = soak(SECONDS)
    assert soaked.counts["reloads"]
    assert soaked.counts["connections"]
    assert soaked.problems() == []
