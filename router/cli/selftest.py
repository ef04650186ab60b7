"""`tunrouter selftest`: what this machine has and lacks for a run, and what to do about it.

Always true: nothing is changed; without root it says what it could not see.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, Final, TextIO

from router.cli import exits
from router.cli.rules_file import valid_rules
from router.config.interfaces import DEFAULT_INTERFACE
from router.config.text import harmless
from router.platform import kernel_ways, present_network, this_machine
from router.platform.colours import has_colours, styled
from router.platform.proxies import with_addresses
from router.policy.findings.situation import Situation
from router.policy.interfaces import wanted_interfaces
from router.policy.machine import checks, extras
from router.policy.machine.facts import Facts
from router.policy.machine.result import Result, Status, worst
from router.policy.machine.ways import ways_out
from router.policy.match.table import RuleSet

STYLE_OF: Final = {Status.WARNING: "warning", Status.MISSING: "error"}
VERDICTS: Final = {
    Status.OK: "everything that a run needs is there",
    Status.WARNING: "everything that a run needs is there, with warnings",
    Status.MISSING: "something that a run needs is missing",
}


def selftest(given: Path | None, *, as_json: bool) -> int:
    """Print what was found, for the rules of a file if one is given; the exit status."""
    situation: Situation | None = None
    if given is not None:
        loaded = valid_rules(given, warnings=False)
        if loaded is None or loaded.config is None:
            return exits.BAD_RULES
        config = with_addresses(loaded.config)
        network = present_network(sources_of=wanted_interfaces(config))
        situation = Situation.of(config, RuleSet.for_few_lookups(config), network)
    else:
        network = present_network(sources_of=(DEFAULT_INTERFACE,))
    ways = kernel_ways()
    with closing(ways) if ways is not None else nullcontext():
        try:
            found_ways = tuple(ways_out(network, ways, situation))
        except OSError:  # the kernel does not answer about ways: they are shown without gateways
            found_ways = tuple(ways_out(network, None, situation))
    machine = this_machine(network.interfaces, extras.modules(), extras.PROGRAMS)
    results = list(checks.results(Facts(machine, network, found_ways, situation)))
    unseen = (*machine.unseen, *network.unread)
    if as_json:
        print(json.dumps(_as_json(results, unseen), indent=1))
    else:
        _print(results, unseen, sys.stdout)
    missing = worst([each.status for each in results]) is Status.MISSING
    return exits.FAILED if missing else exits.OK


def _as_json(results: Sequence[Result], unseen: Sequence[str]) -> dict[str, Any]:
    """The members that scripts rely on."""
    return {
        "status": worst([each.status for each in results]).value,
        "checks": [each.as_json() for each in results],
        "unseen": list(unseen),
    }


def _print(results: Sequence[Result], unseen: Sequence[str], stream: TextIO) -> None:
    """A line for each, and one for its remedy."""
    width = max(len(each.id) for each in results)
    column = " " * (len(Status.MISSING.value) + 2)
    for each in results:
        word = each.status.value.ljust(len(Status.MISSING.value))
        if has_colours(stream) and each.status in STYLE_OF:
            word = styled(STYLE_OF[each.status], word)
        print(f"{word}  {each.id.ljust(width)}  {harmless(each.finding)}", file=stream)
        if each.remedy is not None:
            print(f"{column}{' ' * width}  -> {harmless(each.remedy)}", file=stream)
    for what in unseen:
        print(f"not seen: {harmless(what)}", file=stream)
    print(VERDICTS[worst([each.status for each in results])], file=stream)
