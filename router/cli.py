"""The commands: arguments and printing, nothing else."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from router import __version__
from router.config.loader import RulesFileUnreadable, load
from router.config.model import Config
from router.config.sources import Sources

log = logging.getLogger("tunrouter")

DEFAULT_FILES: Final = (Path("rules.yaml"), Path("/etc/tunrouter/rules.yaml"))

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_BAD_RULES: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except KeyboardInterrupt:
        return EXIT_OK
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tunrouter", description="Routes traffic by the rules of one YAML file."
    )
    parser.add_argument("--version", action="version", version=f"tunrouter {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="route by the rules until interrupted (needs root)")
    _add_rules_file(run)
    run.set_defaults(command=_run)
    return parser


def _add_rules_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help="the rules (default: ./rules.yaml, then /etc/tunrouter/rules.yaml)",
    )


def _run(options: argparse.Namespace) -> int:
    from router.engine.router import Router  # noqa: PLC0415 - other commands start faster without
    from router.platform import this_system  # noqa: PLC0415
    from router.platform.base import PlatformError  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, format="tunrouter: %(message)s", stream=sys.stderr)
    config = _good_rules(options)
    if config is None:
        return EXIT_BAD_RULES
    try:
        system = this_system()
        missing = system.may_run()
        if missing is not None:
            log.error("%s: sudo tunrouter run -c %s", missing, config.file)
            return EXIT_FAILED
        Router(config, system).run()
    except PlatformError as error:
        log.error("%s", error)  # noqa: TRY400 - a message for people, not a traceback
        return EXIT_FAILED
    return EXIT_OK


def _rules_file(options: argparse.Namespace) -> Path:
    """The file asked for, or the first of the usual ones that exists (else the first)."""
    if options.config is not None:
        return Path(options.config)
    return next((path for path in DEFAULT_FILES if path.exists()), DEFAULT_FILES[0])


def _good_rules(options: argparse.Namespace) -> Config | None:
    """The rules, after their problems are printed; None when there are errors among those."""
    try:
        loaded = load(_rules_file(options))
    except RulesFileUnreadable as error:
        print(error.problem.as_text(Sources()), file=sys.stderr)
        return None
    for problem in loaded.problems:
        print(problem.as_text(loaded.sources), file=sys.stderr)
    return loaded.config


if __name__ == "__main__":
    sys.exit(main())
