"""Which rules file a command is about, and its problems for people to read."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TextIO

from router.cli.terminal import paint, progress_bar
from router.config.loader import Loaded, RulesFileUnreadable, load
from router.config.problems import Problem, Severity
from router.config.sources import Sources
from router.config.trust import this_reader

DEFAULT_FILES: Final = (Path("rules.yaml"), Path("/etc/tunrouter/rules.yaml"))


def rules_file(given: Path | None) -> Path:
    """The given file, or the first of the default ones that exists (else the first)."""
    if given is not None:
        return given
    return next((path for path in DEFAULT_FILES if path.exists()), DEFAULT_FILES[0])


def load_rules(path: Path) -> Loaded:
    """Read the rules, with a progress bar at a terminal if that takes long.

    Raises RulesFileUnreadable.
    """
    with progress_bar("reading lists") as progress:
        return load(path, progress, reader=this_reader(os.environ))


def valid_rules(
    path: Path, *, warnings: bool = True, report: Callable[[list[Problem]], None] | None = None
) -> Loaded | None:
    """The rules for a command that needs valid ones; problems go to standard error, or to `report`.

    None if there is an error among them. Without `warnings` only errors are reported.
    """
    try:
        loaded = load_rules(path)
    except RulesFileUnreadable as error:
        if report is None:
            print_problems(error.problems, Sources(), sys.stderr)
        else:
            report(error.problems)
        return None
    shown = [
        problem for problem in loaded.problems if warnings or problem.severity is Severity.ERROR
    ]
    if report is None:
        print_problems(shown, loaded.sources, sys.stderr)
    else:
        report(shown)
    return loaded if loaded.config is not None else None


def print_problems(problems: Iterable[Problem], sources: Sources, stream: TextIO) -> None:
    """Each with its place, source line and remedy."""
    for problem in problems:
        print(paint(problem.as_text(sources), stream), file=stream)
