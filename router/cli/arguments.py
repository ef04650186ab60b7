"""The parser of the command line: argparse, with errors in words of our own.

Always true: what argparse says about an error is never shown, because that differs between versions
of Python; each message names the value or what is missing, and what to do. Options can't be
abbreviated.

Must not know: which commands there are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, NoReturn

from router.config.problems import quoted


class _BadValueError(Exception):
    """Passes through argparse, which catches ValueError, TypeError and ArgumentTypeError."""


class Parser(argparse.ArgumentParser):
    """Its subparsers are of this kind as well."""

    def __init__(self, **settings: Any) -> None:
        self._by_name: dict[str, argparse.Action] = {}
        self._given: Sequence[str] = ()
        super().__init__(allow_abbrev=False, exit_on_error=False, **settings)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """See argparse. `type` takes a text and raises ArgumentTypeError, which says what it should
        be."""
        action = super().add_argument(*names, **settings)
        self._by_name[_name(action)] = action
        if action.nargs != 0:
            action.type = partial(
                _value, _name(action), settings.get("choices"), settings.get("type")
            )
        return action

    def add_subparsers(self, **settings: Any) -> Any:
        """See argparse. Needs a `metavar`."""
        action = super().add_subparsers(**settings)
        self._by_name[_name(action)] = action
        return action

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Both for the command line and, called by argparse, for what follows a command."""
        arguments = sys.argv[1:] if args is None else list(args)
        if self._subparsers is not None and _begins_with_command(arguments):
            del arguments[0]  # some versions of argparse take it for the command
        self._given = arguments
        try:
            options, rest = super().parse_known_args(arguments, namespace)
        except _BadValueError as error:
            self._refuse(str(error))
        except argparse.ArgumentError as error:
            self._refuse(self._fault(error.argument_name, arguments))
        if rest:
            self._refuse(self._surplus(rest[0]))
        return options, rest

    def _print_message(self, message: str, file: Any = None) -> None:
        """As in argparse, where this hides that --help can't be written."""
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:  # noqa: ARG002 - argparse's words
        """Called by argparse, up to Python 3.11, where arguments are missing."""
        self._refuse(self._missing())

    def refuse_missing(self, name: str) -> NoReturn:
        """Exit because an argument is missing that is optional to argparse."""
        self._refuse(f"{name} is missing: {self._hint()}")

    def _fault(self, name: str | None, arguments: Sequence[str]) -> str:
        action = self._by_name.get(name or "")
        if action is None:
            return self._missing()
        if isinstance(action, argparse._SubParsersAction):
            command = next((each for each in arguments if each[:1] != "-"), arguments[-1])
            return f"there is no command {quoted(command)}: {self._hint(command, action.choices)}"
        takes = "takes no value" if action.nargs == 0 else "needs a value"
        return f"{name} {takes}: {self._hint()}"

    def _missing(self) -> str:
        unknown = next(filter(self._is_unknown, takewhile("--".__ne__, self._given)), None)
        if unknown is not None:
            return self._surplus(unknown)
        required = (
            name
            for name, action in self._by_name.items()
            if action.required and not action.option_strings
        )
        return f"{' '.join(required)} is missing: {self._hint()}"

    def _is_unknown(self, argument: str) -> bool:
        """Whether it is meant as an option and is none; `-cFILE` is one, a number is not meant."""
        name = argument.partition("=")[0]
        known = {name, name[:2]} & set(self._options())
        return name[:1] == "-" and not name[1:2].isdigit() and name != "-" and not known

    def _surplus(self, argument: str) -> str:
        option = argument.partition("=")[0]
        if option in self._options():
            return f"the option {quoted(option)} comes after '--': write it before"
        if not argument.startswith("-") or "--" in self._given:
            return f"the argument {quoted(argument)} is one too many: {self._hint()}"
        return f"there is no option {quoted(option)}: {self._hint(option, self._options())}"

    def _options(self) -> list[str]:
        return [each for action in self._by_name.values() for each in action.option_strings]

    def _hint(self, word: str = "", known: Any = ()) -> str:
        from router.config.spelling import nearest  # noqa: PLC0415 - only for errors

        close = nearest(word, known)
        return f"did you mean '{close}'?" if close and close != word else f"see {self.prog} --help"

    def _refuse(self, fault: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {fault}\n")


def _begins_with_command(arguments: Sequence[str]) -> bool:
    """Whether `--` stands before something that is no option."""
    return len(arguments) > 1 and arguments[0] == "--" and not arguments[1].startswith("-")


def _name(action: argparse.Action) -> str:
    """As argparse names it in its errors."""
    return "/".join(action.option_strings) or str(action.metavar or action.dest)


def _value(
    name: str, choices: Sequence[str] | None, convert: Callable[[str], Any] | None, text: str
) -> Any:
    """Raises _BadValueError."""
    if choices is not None and text not in choices:
        raise _BadValueError(f"{name} cannot be {quoted(text)}: choose from {', '.join(choices)}")
    try:
        return text if convert is None else convert(text)
    except argparse.ArgumentTypeError as error:
        raise _BadValueError(f"{name} cannot be {quoted(text)}: {error}") from error
