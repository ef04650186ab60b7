"""`tunrouter run`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from router.cli import exits
from router.cli.rules_file import good_rules, rules_file
from router.config.model import Config
from router.control.commands import attended
from router.engine.router import Router
from router.platform import present_network, this_system
from router.platform.base import PlatformError
from router.policy.findings.loops import find_endpoints_in_danger
from router.policy.findings.situation import Situation
from router.policy.table import RuleSet

log = logging.getLogger("tunrouter")


def run(asked: Path | None) -> int:
    """Route until interrupted; the exit status."""
    logging.basicConfig(level=logging.INFO, format="tunrouter: %(message)s", stream=sys.stderr)
    loaded = good_rules(rules_file(asked))
    if loaded is None or loaded.config is None:
        return exits.BAD_RULES
    try:
        system = this_system()
        missing = system.may_run()
        if missing is not None:
            log.error("%s: sudo tunrouter run -c %s", missing, loaded.config.file)
            return exits.FAILED
        _warn_of_loops(loaded.config)
        Router(loaded.config, system, attended).run()
    except PlatformError as error:
        log.error("%s", error)  # noqa: TRY400 - a message for people, not a traceback
        return exits.FAILED
    return exits.OK


def _warn_of_loops(config: Config) -> None:
    """A VPN that would be cut off, or perhaps captured into itself: the one finding about the
    system that can't wait for somebody to run `check`."""
    situation = Situation.of(config, RuleSet.for_few_lookups(config), present_network())
    for problem in find_endpoints_in_danger(situation):
        log.warning("%s; %s", problem.message, problem.help)
