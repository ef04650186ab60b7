"""Log lines about policies: up by which interface, or down and why."""

from __future__ import annotations

import logging
from collections.abc import Container

from router.config.model import Config
from router.outbound.all import Outbounds
from router.policy.resolve import effective

log = logging.getLogger(__name__)


def log_policies(config: Config, outbounds: Outbounds, policies: Container[str]) -> None:
    """A line for each of these policies that has an interface."""
    for name, outbound in outbounds.by_policy.items():
        if name not in policies:
            continue
        if outbound.up:
            log.info("policy %s: up by %s", name, outbound.describe())
        else:
            log.warning(
                "policy %s: down, %s; until then its traffic goes to %s",
                name,
                outbound.why_down(),
                effective(config, name, outbounds.is_up),
            )
