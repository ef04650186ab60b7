"""The program that answers `explain` of the control socket, started by the guard.

    python -m router.cli.explain_program FILE QUESTION

QUESTION is a JSON object with `destination`, `protocol` and `port`; the output is one as well:
`text`, as the command prints it, and `answers`, as its --json does, or `error`.

Always true: it reads with the rights of the start, and gives them up before a name is looked up; it
ends after LIFETIME seconds at the latest.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - of getaddrinfo(3), when it may not be readable any more
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

from router.cli.explain import BadQuestionError, Explained, explained, refuse_ports_without
from router.config.loader import RulesFileUnreadable, collector_paused, load
from router.config.problems import Severity
from router.config.trust import this_reader
from router.platform.account import become, usual_account
from router.platform.base.errors import PlatformError
from router.platform.reason import reason

LIFETIME: Final = 25
"""Seconds; the router gives it up before."""


def answer_question(file: Path, question: dict[str, Any]) -> dict[str, Any]:
    try:
        refuse_ports_without(question["protocol"], question["port"])
        found = _explained(file, **question)
    except BadQuestionError as error:
        return {"error": str(error)}
    return {"text": found.text, "answers": found.as_json}


def _explained(file: Path, destination: str, protocol: str | None, port: int | None) -> Explained:
    """Raises BadQuestionError."""
    try:
        loaded = load(file, reader=this_reader(os.environ))
    except RulesFileUnreadable as error:
        raise BadQuestionError(error.problems[0].as_line()) from error
    if loaded.config is None:
        errors = (each for each in loaded.problems if each.severity is Severity.ERROR)
        raise BadQuestionError(next(errors).as_line())
    return explained(loaded.config, destination, protocol, port, before_lookup=_give_up_rights)


def _give_up_rights() -> None:
    with contextlib.suppress(PlatformError):
        become(usual_account())


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LIFETIME)
    file, question = Path(sys.argv[1]), json.loads(sys.argv[2])
    with collector_paused():
        try:
            answer = answer_question(file, question)
        except Exception as error:
            answer = {"error": f"{file}: cannot be explained: {reason(error)}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
