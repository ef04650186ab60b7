"""What the log says of policies: up by which interface, or down and why."""

from __future__ import annotations

import logging
from collections.abc import Container

from router.config.model import Config
from router.outbound.all import WayOut, WaysOut
from router.policy.resolve import effective

log = logging.getLogger(__name__)


def announce(config: Config, ways: WaysOut, policies: Container[str]) -> None:
    """A line for each of these policies that has an interface."""
    for name, way in ways.by_policy.items():
        if name not in policies:
            continue
        if way.up:
            log.info("policy %s: up by %s", name, describe(way))
        else:
            log.warning(
                "policy %s: down, %s; until then its traffic goes to %s",
                name,
                ways.why_down(way),
                effective(config, name, ways.is_up),
            )


def describe(way: WayOut) -> str:
    """A way out that is up, with the addresses that it sends from."""
    sources = (
        str(interface.source(version)) for version, interface in sorted(way.interfaces.items())
    )
    return f"{way.name} from {', '.join(sources)}"
