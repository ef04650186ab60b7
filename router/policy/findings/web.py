"""The web process, which `web` in the rules starts: whether what it needs is installed."""

from __future__ import annotations

from collections.abc import Iterator

from router.config.problems import Problem, Severity
from router.policy.findings.situation import Situation


def find(situation: Situation) -> Iterator[Problem]:
    web, lacking = situation.config.web, situation.network.lacking_for_web
    if web is not None and lacking:
        verb = "is" if len(lacking) == 1 else "are"
        yield Problem(
            "web-not-installed",
            Severity.WARNING,
            web.place,
            f"there will be no web page: it needs {' and '.join(lacking)}, which {verb} not "
            "installed",
            "pip install 'tunrouter[web]' into the environment of tunrouter, or leave 'web' out",
        )
