"""The user that the router runs as: an account that is missing, or root."""

from __future__ import annotations

from collections.abc import Iterator

from router.config.problems import Problem, Severity
from router.config.schema import DEFAULT_USER
from router.policy.findings.situation import Situation

ROOT = "root"


def find(situation: Situation) -> Iterator[Problem]:
    config = situation.config
    if config.user in situation.network.missing_users:
        yield Problem(
            "unknown-user",
            Severity.ERROR,
            config.user_place,
            f"there is no user {config.user} for the router to run as",
            f"create one (useradd --system {config.user}), or leave 'user' out: the default is "
            f"{DEFAULT_USER}",
        )
    elif config.user == ROOT:
        yield Problem(
            "runs-as-root",
            Severity.WARNING,
            config.user_place,
            "the router keeps the rights of root while it reads packets from any network",
            f"leave 'user' out: the default is {DEFAULT_USER}",
        )
