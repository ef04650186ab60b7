"""The short cut for routes of one MTU gives the same routes as the general algorithm."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from router.config.model import Config
from router.policy.match.flatten import flatten
from router.policy.routes.aggregate import fewest_blocks, fewest_routes
from tests.unit.examples import examples
from tests.unit.policy.configs import WIDTHS, configs


@settings(max_examples=examples(150))
@given(configs(), st.data())
def test_one_label(rules: Config, data: st.DataObject) -> None:
    for version, width in WIDTHS.items():
        ranges = flatten(rules.rules, version)
        labels = [data.draw(st.sampled_from([None, 1500])) for _ in ranges.chains]
        labelled = ((first, last, labels[chain]) for first, last, chain in ranges)
        general = [(first, length) for first, length, _ in fewest_routes(labelled, width)]
        assert list(fewest_blocks(ranges, labels, width)) == general
