"""The rules file read again, by a process of its own with the rights of the start; or watched, by
another such process (router.engine.reload.watch).

Theory of operation. The router may not be allowed to read the file any more, and could not wait:
a hundred thousand rules take seconds. So a reload starts this program, with the file that `run` was
given and nothing else. It reads, checks, compiles and plans as a start does, and writes the
result to its standard output, which the router receives piece by piece.

Always true: what is written is either the problems or everything that a reload needs; no traceback
reaches a user; the process ends after LIFETIME at the latest.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from router.config.loader import RulesFileUnreadable, collector_paused, load
from router.config.model import Config
from router.config.problems import Severity
from router.config.sources import Sources
from router.config.trust import this_reader
from router.engine.reload import chunked_pickle, watch
from router.engine.reload.compiled import PATIENCE, Compiled, Report, Reread, dependencies
from router.platform import present_network
from router.platform.proxies import with_addresses
from router.platform.reason import reason
from router.policy.findings.loops import find_endpoint_problems
from router.policy.findings.situation import Situation
from router.policy.interfaces import wanted_interfaces
from router.policy.match.table import RuleSet
from router.policy.proxies import known_servers
from router.policy.routes.answered import answered_prefixes

LIFETIME: Final = round(PATIENCE) + 5
"""Seconds; the router gives it up before."""


def command(file: Path) -> Sequence[str]:
    """The command line that starts it; with the argument `watch` and a time it watches the file
    from that time on."""
    return (sys.executable, "-P", "-m", "router.engine.reload.reread", str(file))


def reread(file: Path) -> Reread:
    """Read, check and compile a rules file."""
    try:
        loaded = load(file, reader=this_reader(os.environ))
    except RulesFileUnreadable as error:
        return Reread(Report.of(error.problems, Sources()))
    problems = Report.of(loaded.problems, loaded.sources)
    if loaded.config is None:
        return Reread(problems)
    config, rules = with_addresses(loaded.config), RuleSet.build(loaded.config)
    network = present_network(sources_of=wanted_interfaces(config))
    situation = Situation.of(config, rules, network)
    servers = tuple(known_servers(config))
    depends_on = dependencies(config, rules, situation.facts, network.endpoints, servers)
    warnings = (f"{each.message}; {each.help}" for each in find_endpoint_problems(situation))
    found = Report.saying(*warnings, severity=Severity.WARNING)
    compiled = Compiled(
        _without_prefixes(config),
        rules,
        situation.plan,
        depends_on,
        answered_prefixes(config, rules),
    )
    return Reread(problems.and_also(found), compiled)


def _without_prefixes(config: Config) -> Config:
    rules = tuple(replace(rule, prefixes=(), ranges=(), lists=()) for rule in config.rules)
    return replace(config, rules=rules)


def main() -> None:
    file = Path(sys.argv[1])
    if sys.argv[2:3] == ["watch"]:
        watch.main(file, float(sys.argv[3]))
    _write(file)


def _write(file: Path) -> None:
    # A reader that does not want the rest has closed the pipe, which is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # One that was given up ends, whatever it waits for: a disk that does not answer, say.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LIFETIME)
    with collector_paused():
        try:
            result = reread(file)
        except Exception as error:
            why = f"{file}: cannot be read again: {reason(error)}"
            result = Reread(Report.saying(why))
        try:
            chunked_pickle.write(result, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except (MemoryError, OSError):
            os._exit(1)  # the reader finds the value incomplete
    # The reader waits for the end, and should not wait until a million prefixes are freed.
    os._exit(0)


if __name__ == "__main__":
    main()
