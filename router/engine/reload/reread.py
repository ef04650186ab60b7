"""The rules file read anew, by a process of its own with the rights of the start.

Theory of operation. The router may not be allowed to read the file any more, and has no time to:
a hundred thousand rules take seconds. So a reload starts this program, with the file that `run` was
given and nothing else. It reads, checks, compiles and plans as a start does, and writes what has
come of it to its standard output, for the router to take in piece by piece.

Always true: what is written says either what is wrong or everything that a reload needs; nobody
is ever shown a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from router.config.loader import RulesFileUnreadable, collector_paused, load
from router.config.model import Config
from router.config.sources import Sources
from router.engine.reload import chunked_pickle
from router.engine.reload.compiled import Compiled, Report, Reread, dependencies
from router.platform import present_network
from router.platform.reason import reason
from router.policy.findings.loops import find_endpoints_in_danger
from router.policy.findings.situation import Situation
from router.policy.interfaces import facts_of, interfaces_now
from router.policy.match.table import RuleSet


def command(file: Path) -> Sequence[str]:
    """What to start: it needs nothing that is not said here."""
    return (sys.executable, "-P", "-m", "router.engine.reload.reread", str(file))


def reread(file: Path) -> Reread:
    """Read, check and compile a rules file."""
    try:
        loaded = load(file)
    except RulesFileUnreadable as error:
        return Reread(Report.of([error.problem], Sources()))
    problems = Report.of(loaded.problems, loaded.sources)
    if loaded.config is None:
        return Reread(problems)
    config, rules = loaded.config, RuleSet.build(loaded.config)
    network = present_network()
    situation = Situation.of(config, rules, network)
    facts = facts_of(interfaces_now(config.policies, network))
    depends_on = dependencies(config, rules, facts, network.endpoints)
    warnings = (f"{each.message}; {each.help}" for each in find_endpoints_in_danger(situation))
    compiled = Compiled(_without_prefixes(config), rules, situation.plan, depends_on)
    return Reread(problems.and_also(Report.saying(*warnings)), compiled)


def _without_prefixes(config: Config) -> Config:
    rules = tuple(replace(rule, prefixes=(), ranges=(), lists=()) for rule in config.rules)
    return replace(config, rules=rules)


def main() -> None:
    # Whoever no longer wants the rest has closed the pipe: that is the end, and nobody's error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    file = Path(sys.argv[1])
    with collector_paused():
        try:
            result = reread(file)
        except Exception as error:
            why = f"{file}: cannot be read anew: {reason(error)}"
            result = Reread(Report.saying(why))
        chunked_pickle.write(result, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    # Whoever waits for the end does not wait until the memory of a million prefixes is tidied up.
    os._exit(0)


if __name__ == "__main__":
    main()
