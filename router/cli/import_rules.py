"""`tunrouter import`: the configuration of another program as rules.yaml, and what could not be
taken over.

Always true: nothing is written when the file can't be read to its end.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from router.cli import exits
from router.cli.new_file import NotWrittenError, write_new
from router.cli.rules_file import print_problems
from router.config.document import SyntaxProblemError
from router.config.foreign.clash import read_clash
from router.config.foreign.lists import Beside, ReadFile
from router.config.foreign.model import Imported
from router.config.foreign.sing_box import read_sing_box
from router.config.foreign.surge import read_surge
from router.config.foreign.writing import list_text, rules_text
from router.config.loader import collector_paused
from router.config.opening import Opener
from router.config.problems import Problem, has_errors
from router.config.reading import RulesFileUnreadable, decode, out_of_memory, read_bytes
from router.config.sources import Sources
from router.config.trust import this_reader

READERS: Final[dict[str, Callable[[str, str, ReadFile], Imported]]] = {
    "clash": read_clash,
    "surge": read_surge,
    "sing-box": read_sing_box,
}


def import_rules(program: str, path: Path, output: str) -> int:
    """Write rules.yaml, or a list file where the file is a list alone; the exit status."""
    sources = Sources()
    try:
        with collector_paused():
            imported, text = _imported(program, path, sources)
    except RulesFileUnreadable as error:
        return _failed(error.problems, sources)
    except SyntaxProblemError as error:
        return _failed([error.problem], sources)
    except MemoryError:
        return _failed([out_of_memory()], sources)
    try:
        write_new(output, text)
    except NotWrittenError as error:
        print(f"tunrouter import: {error}", file=sys.stderr)
        return exits.FAILED
    _print_notes(imported)
    _print_doubt(program, imported)
    return exits.OK


def _imported(program: str, path: Path, sources: Sources) -> tuple[Imported, str]:
    """What was read, and the text to write. Raises RulesFileUnreadable, SyntaxProblemError."""
    opener = Opener(this_reader(os.environ))
    read = read_bytes(path, opener, "configuration")
    print_problems(read.warnings, sources, sys.stderr)
    text, faults = decode(str(path), read.data)
    sources.add_text(str(path), text)
    if has_errors(faults):
        raise RulesFileUnreadable(*faults)
    beside = Beside(path, opener, by_user=read.by_user)
    imported = READERS[program](str(path), text, beside.read)
    if imported.networks is not None:
        return imported, list_text(imported.networks)
    return imported, rules_text(imported, program)


def _failed(problems: list[Problem], sources: Sources) -> int:
    print_problems(problems, sources, sys.stderr)
    return exits.FAILED


def _print_doubt(program: str, imported: Imported) -> None:
    """Where nothing was taken over, the file may be one of another program."""
    if not (imported.rules or imported.networks or imported.final_line):
        print(
            f"nothing was taken over: is {imported.file} a configuration of {program}?",
            file=sys.stderr,
        )


def _print_notes(imported: Imported) -> None:
    """In the order of the file, those of its lists behind them; then how many there are."""
    notes = sorted(
        dict.fromkeys(imported.notes), key=lambda each: (each.file != imported.file, each)
    )
    sys.stderr.writelines(f"{note}\n" for note in notes)
    changed = sum(note.changed for note in notes)
    found = len(imported.rules if imported.networks is None else imported.networks)
    what = "rules" if imported.networks is None else "networks"
    counts = f"lines changed: {changed:,}; lines not taken over: {len(notes) - changed:,}"
    print(f"{what} taken over: {found:,}; {counts}", file=sys.stderr)
