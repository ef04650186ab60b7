"""`tunrouter run`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from router.cli import exits
from router.cli.rules_file import rules_file, valid_rules
from router.config.model import Config
from router.control.commands import serve_control
from router.control.web.child import web_process
from router.engine.reload import reread
from router.engine.router import Router
from router.platform import present_network, this_system
from router.platform.account import usual_account
from router.platform.base.errors import PlatformError
from router.platform.base.processes import Pipe, Supervisor
from router.platform.base.system import System
from router.platform.log import choose_form, has_line_for_each, log_problems, log_to
from router.platform.proxies import with_addresses
from router.platform.reason import reason, remedy
from router.platform.supervisor import supervisor_of
from router.policy.findings import account
from router.policy.findings.loops import find_endpoint_problems
from router.policy.findings.situation import Situation
from router.policy.match.table import RuleSet

log = logging.getLogger("tunrouter")


def run(given: Path | None, level: str, form: str, *, watches: bool = False) -> int:
    """Route until interrupted; the exit status.

    level, form: of the log, see router.platform.log. watches: whether saved files are applied.
    """
    choose_form(os.environ, level, form)
    log_to(sys.stderr, os.environ)
    supervisor = supervisor_of(os.environ, os.getpid())
    report = log_problems if has_line_for_each(sys.stderr, os.environ) else None
    file = rules_file(given)
    try:
        system = this_system(reread.command(file), _explain_command(file))
        watch = system.processes.start_watch() if watches else None  # before the files are read
    except (PlatformError, OSError) as error:
        return _cannot_run(error) if valid_rules(file, report=report) else exits.BAD_RULES
    loaded = valid_rules(file, report=report)
    if loaded is None or loaded.config is None:
        try:
            system.close()
        except PlatformError as error:
            log.error("%s", error)  # noqa: TRY400 - for people
        return exits.BAD_RULES
    return _run(with_addresses(loaded.config), system, supervisor, watch)


def _run(config: Config, system: System, supervisor: Supervisor, watch: Pipe | None) -> int:
    try:
        _warn(config)
        router = Router(config, system, supervisor, _serve, watch)
        system.processes.drop_privileges(config.user if config.user_place else usual_account())
        router.run()
    except (PlatformError, OSError) as error:
        return _cannot_run(error)
    return exits.OK


def _explain_command(file: Path) -> Sequence[str]:
    """What answers `explain` of the control socket, without the question."""
    return (sys.executable, "-P", "-m", "router.cli.explain_program", str(file))


@contextmanager
def _serve(router: Router) -> Iterator[None]:
    """What answers questions about the router while it runs."""
    with serve_control(router), web_process(router):
        yield


def _cannot_run(error: PlatformError | OSError) -> int:
    why = str(error)
    if isinstance(error, OSError):
        why = f"the system refuses what the router needs: {reason(error)}: {remedy(error)}"
    log.error("%s", why)
    return exits.FAILED


def _warn(config: Config) -> None:
    """The findings that are reported without `check`: a VPN that would lose its server, or perhaps
    captured into itself, and the rights of root."""
    situation = Situation.of(config, RuleSet.for_few_lookups(config), present_network())
    for problem in (*find_endpoint_problems(situation), *account.find(situation)):
        log.warning("%s; %s", problem.message, problem.help)
