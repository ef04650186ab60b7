"""/metrics as Prometheus sees it: scraped by a real one that evaluates the alert rules; promtool's
own checks; what the rules make of a course of events; and the names in the Grafana dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e import ping
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import Tunrouter, running
from tests.e2e.wait import wait_until
from tests.e2e.web.web_client import PORT, get, is_served, web_rules

DOCS = Path(__file__).parents[3] / "docs"
ALERTS = DOCS / "prometheus" / "tunrouter-alerts.yml"
DASHBOARD = DOCS / "grafana" / "tunrouter.json"
VARIABLES = {"$instance": f"127.0.0.1:{PORT}", "$__rate_interval": "10s", "$__range": "1m"}
"""Of the dashboard's expressions, what Grafana puts in."""
LABEL = re.compile(r"{{(\w+)}}")
METRIC = re.compile(r"\btunrouter_[a-z_]+")
RULES = web_rules(f"{V4.far(1)} -> home", f"{V4.far(2)} -> office", f"{V4.far(3)} -> drop")
PROMETHEUS = 9490
CONFIG = f"""\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{ALERTS}]
scrape_configs:
  - job_name: tunrouter
    static_configs: [{{targets: ["127.0.0.1:{PORT}"]}}]
"""
COURSE = f"""\
rule_files: [{ALERTS}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'up{{job="tunrouter",instance="a"}}', values: '1x70 0x10'}}
      - {{series: 'tunrouter_policy_up{{policy="office",instance="a"}}', values: '1x4 0x6 1x70'}}
      - series: tunrouter_drops_total{{reason="no-buffer",instance="a"}}
        values: 0+60x60 3660+6000x20
      - series: tunrouter_drops_total{{reason="drop",instance="a"}}
        values: 0+60x60 3660+6000x20
    alert_rule_test:
      - {{alertname: TunrouterPolicyDown, eval_time: 4m, exp_alerts: []}}
      - alertname: TunrouterPolicyDown
        eval_time: 7m
        exp_alerts:
          - exp_labels: {{severity: warning, policy: office, instance: a}}
            exp_annotations:
              summary: The policy office of a is down
              description: Its on_down applies. `sudo tunrouter status` says what it lacks.
      - {{alertname: TunrouterPolicyDown, eval_time: 15m, exp_alerts: []}}
      - {{alertname: TunrouterDropsRising, eval_time: 50m, exp_alerts: []}}
      - alertname: TunrouterDropsRising
        eval_time: 73m
        exp_alerts:
          - exp_labels: {{severity: warning, reason: no-buffer, instance: a}}
            exp_annotations:
              summary: "a drops more packets: no-buffer"
              description: >-
                100 packets a second are not forwarded, besides those that rules drop or reject.
                docs/metrics.md has the reasons.
      - {{alertname: TunrouterGone, eval_time: 60m, exp_alerts: []}}
      - alertname: TunrouterGone
        eval_time: 75m
        exp_alerts:
          - exp_labels: {{severity: critical, job: tunrouter, instance: a}}
            exp_annotations:
              summary: No router answers at a
              description: >-
                Neither the web process nor the router behind it answers: systemctl status
                tunrouter.
  - interval: 1m
    alert_rule_test:
      - alertname: TunrouterGone
        eval_time: 2m
        exp_alerts:
          - exp_labels: {{severity: critical, job: tunrouter}}
            exp_annotations:
              summary: No router answers
              description: >-
                Neither the web process nor the router behind it answers: systemctl status
                tunrouter.
"""


class Prometheus:
    """One that scrapes the router of the bed."""

    def __init__(self, bed: Testbed) -> None:
        self._bed = bed

    def api(self, path: str) -> Any:
        """What a path of its API has as its data; None while it starts."""
        url = f"http://127.0.0.1:{PROMETHEUS}/api/v1/{path}"
        done = self._bed.router.run("curl", "-s", "-g", url, check=False)
        return json.loads(done.stdout)["data"] if done.stdout.startswith("{") else None

    def value(self, expression: str) -> float | None:
        found = self.api(f"query?query={expression}")
        results = found["result"] if found else []
        return float(results[0]["value"][1]) if results else None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The labels of the series that an expression finds now."""
        found = self.api(f"query?query={quote(expression)}")
        return [each["metric"] for each in found["result"]]

    def alerts(self) -> set[tuple[str, str]]:
        """Names and, where there are, policies of those that are pending or firing."""
        found = self.api("alerts") or {"alerts": []}
        labels = (each["labels"] for each in found["alerts"])
        return {(each["alertname"], each.get("policy", "")) for each in labels}


@pytest.fixture
def prometheus(bed: Testbed, tmp_path: Path) -> Iterator[Prometheus]:
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG)
    process = bed.router.start(
        *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"),
        f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
    )
    found = Prometheus(bed)
    try:
        wait_until(lambda: found.api("status/runtimeinfo"), "Prometheus", detail=process.report)
        yield found
        process.stop()
    finally:
        process.close()


def test_it_is_scraped_and_the_alert_rules_are_evaluated(
    bed: Testbed, prometheus: Prometheus, tmp_path: Path
) -> None:
    with running(bed.router, tmp_path, RULES) as router:
        up = 'up{job="tunrouter"}'
        wait_until(lambda: prometheus.value(up) == 1, "a scrape", detail=lambda: router.log)
        ping.answered(bed.client, V4.far(1), count=20)
        counted = 'tunrouter_packets_total{policy="home",direction="in"}'
        wait_until(lambda: prometheus.value(counted) == 20, "the pings in Prometheus")
        ping.unanswered(bed.client, V4.far(3), count=1)
        for expression, legend in dashboard():
            wait_until(lambda: prometheus.query(expression), expression)  # noqa: B023
            labels = set(LABEL.findall(legend))
            assert all(labels <= series.keys() for series in prometheus.query(expression))
        bed.close_tunnel()
        try:
            down = ("TunrouterPolicyDown", "office")
            wait_until(lambda: down in prometheus.alerts(), "the alert that office is down")
        finally:
            bed.open_tunnel()
        wait_until(lambda: not prometheus.alerts(), "its end")
    wait_until(lambda: ("TunrouterGone", "") in prometheus.alerts(), "that the router is gone")
    rules = prometheus.api("rules")["groups"][0]["rules"]
    assert [(rule["name"], rule["health"], rule.get("lastError", "")) for rule in rules] == [
        (name, "ok", "")
        for name in ("TunrouterPolicyDown", "TunrouterDropsRising", "TunrouterGone")
    ]


def dashboard() -> list[tuple[str, str]]:
    """The expressions of all panels, with the names of their series."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    found = [(each["expr"], each["legendFormat"]) for panel in panels for each in panel["targets"]]
    return [(with_variables(expression), legend) for expression, legend in found]


def with_variables(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def test_promtool_finds_no_fault(bed: Testbed, tmp_path: Path) -> None:
    bed.router.run("promtool", "check", "rules", str(ALERTS))
    recorded = [{"record": "panel", "expr": expression} for expression, _ in dashboard()]
    panels = tmp_path / "panels.yml"
    groups = [{"name": f"panel-{n}", "rules": [rule]} for n, rule in enumerate(recorded)]
    panels.write_text(json.dumps({"groups": groups}))
    bed.router.run("promtool", "check", "rules", str(panels))
    course = tmp_path / "course.yml"
    course.write_text(COURSE)
    bed.router.run("promtool", "test", "rules", str(course))
    with running(bed.router, tmp_path, RULES) as router:
        wait_until(lambda: is_served(bed.router), "the web process", detail=lambda: router.log)
        text = get(bed.router, "/metrics")
        done = bed.router.run("promtool", "check", "metrics", stdin=text)
        assert done.stdout + done.stderr == ""
        exposed_names_are_documented(router, text)


def exposed_names_are_documented(router: Tunrouter, text: str) -> None:
    assert router.running
    exposed = set(METRIC.findall(re.sub(r"^#.*$", "", text, flags=re.MULTILINE)))
    documented = set(METRIC.findall((DOCS / "metrics.md").read_text(encoding="utf-8")))
    assert documented == exposed
    for used in (ALERTS, DASHBOARD):
        assert set(METRIC.findall(used.read_text(encoding="utf-8"))) <= exposed
