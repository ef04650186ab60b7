"""The metrics of Prometheus, from a `status`. docs/metrics.md describes each.

Always true: every sample is of one and the same status; a value that is not known has no sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from router.flows.drops import Drop

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
MOST_RULES: Final = 1000
"""Where there are more rules, those that have matched alone, and of these the first so many."""
DEFAULT: Final = "default"
"""The label `rule` of what no rule has matched."""

Status = Mapping[str, Any]


def exposition(status: Status, version: str) -> bytes:
    """The text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_OfStatus(status, version))
    return generate_latest(registry)


class _OfStatus(Collector):
    def __init__(self, status: Status, version: str) -> None:
        self._status = status
        self._version = version

    def collect(self) -> Iterator[Metric]:
        status = self._status
        yield _by_direction(status, "packets", "Packets of a policy, out to the network and in.")
        yield _by_direction(status, "bytes", "Bytes of IP of a policy, out to the network and in.")
        yield _rules(status)
        yield _drops(status)
        yield _gauge("flows", "Flows at present.", "protocol", status["flows"])
        states = {name: each["state"] == "up" for name, each in status["policies"].items()}
        yield _gauge("policy_up", "Whether the outbound of a policy is up.", "policy", states)
        yield GaugeMetricFamily(
            "tunrouter_uptime_seconds", "Seconds since the router started.", status["uptime_s"]
        )
        yield _gauge(
            "build_info", "The version of tunrouter; always 1.", "version", {self._version: 1}
        )


def _by_direction(status: Status, what: str, help_: str) -> Metric:
    family = CounterMetricFamily(f"tunrouter_{what}", help_, labels=("policy", "direction"))
    for name, policy in status["policies"].items():
        for direction in ("out", "in"):
            value = policy[f"{what}_{direction}"]
            if value is not None:
                family.add_metric((name, direction), value)
    return family


def _rules(status: Status) -> Metric:
    family = CounterMetricFamily(
        "tunrouter_rule_packets",
        "Packets that a rule has decided about, both ways.",
        labels=("rule", "policy"),
    )
    rules = status["rules"]
    if len(rules) > MOST_RULES:
        rules = [rule for rule in rules if rule["packets"]][:MOST_RULES]
    for rule in rules:
        family.add_metric((str(rule["index"]), rule["policy"]), rule["packets"])
    family.add_metric((DEFAULT, status["default"]["policy"]), status["default"]["packets"])
    return family


def _drops(status: Status) -> Metric:
    """All reasons from the beginning, so that the first drop is an increase."""
    family = CounterMetricFamily(
        "tunrouter_drops", "Packets that were not forwarded.", labels=("reason",)
    )
    counts = {**dict.fromkeys((each.value for each in Drop), 0), **status["drops"]}
    for reason, number in counts.items():
        family.add_metric((reason,), number)
    return family


def _gauge(name: str, help_: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"tunrouter_{name}", help_, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), float(number))
    return family
