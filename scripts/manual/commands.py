"""The page tunrouter(1), from the parser of the command line.

Always true: every command and option that the parser has is on the page, with the help that it has
there; what the page says beside that stands in the texts below.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final, NamedTuple

from scripts.manual import roff

DESCRIPTION: Final = """\
One YAML file says which addresses leave this machine by which outbound: an interface, a VPN, a \
SOCKS5 proxy. `tunrouter run` makes a TUN device and routes to it for the networks that the rules \
capture, and carries each packet by the outbound of the first rule that matches. The file is \
described in rules.yaml(5).

When a run ends, also by SIGKILL, routes, addresses, rules and settings of the system are as before.
"""

STATUSES: Final = (
    ("0", "Done. For `check`: no error, though there may be warnings."),
    ("1", "Failed: a run, a check that found errors, no running router."),
    (
        "2",
        "The rules can't be read or, where they are needed, have errors; for every command, "
        "arguments that make no sense, as an unknown option, or an unknown word in a filter.",
    ),
)

SIGNALS: Final = (
    ("SIGINT, SIGTERM", "End a run in good order; it exits with status 0."),
    ("SIGHUP", "Makes a run read its rules again, as `tunrouter reload` does."),
)

FILES: Final = (
    ("./rules.yaml, /etc/tunrouter/rules.yaml", "The rules, where `-c` names no other file."),
    ("/run/tunrouter", "Control sockets of running routers, and what they would undo."),
)

SEE_ALSO: Final = "rules.yaml(5), ip-route(8), systemd.service(5)"


class Command(NamedTuple):
    """name: with the words before it, as in `tunrouter lists merge`. about: its help in the list of
    commands."""

    name: str
    about: str
    parser: argparse.ArgumentParser


def page(parser: argparse.ArgumentParser, version: str, date: str) -> str:
    """The whole page. date: ISO 8601."""
    found = list(commands(parser))
    parts = [
        roff.title("tunrouter", 1, date, version, "User Commands"),
        roff.heading("Name"),
        f"tunrouter \\- {roff.escaped(_sentence(parser.description).rstrip('.'))}\n",
        roff.heading("Synopsis"),
        ".br\n".join(f"{usage(each)}\n" for each in found),
        roff.heading("Description"),
        roff.from_markdown(DESCRIPTION),
        roff.heading("Commands"),
        *map(_section, found),
        roff.heading("Exit status"),
        *(roff.item(roff.escaped(name), roff.inline(text)) for name, text in STATUSES),
        roff.heading("Signals"),
        *(roff.item(roff.bold(name), roff.inline(text)) for name, text in SIGNALS),
        roff.heading("Files"),
        *(roff.item(roff.italic(name), roff.inline(text)) for name, text in FILES),
        roff.heading("See also"),
        f"{roff.escaped(SEE_ALSO)}\n",
    ]
    return "".join(parts)


def commands(parser: argparse.ArgumentParser, about: str = "") -> Iterator[Command]:
    """Those that carry something out, in the order of the parser."""
    below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not below:
        yield Command(parser.prog, about, parser)
    for action in below:
        helps = {each.dest: each.help or "" for each in action._choices_actions}
        for name, each in action.choices.items():
            yield from commands(each, helps.get(name, ""))


def usage(command: Command) -> str:
    """One line: the command, its options and its arguments."""
    actions = [each for each in command.parser._actions if each.dest != "help"]
    options = [f"[{_option(each, each.option_strings[0])}]" for each in _options(actions)]
    arguments = [_argument(each) for each in actions if not each.option_strings]
    return " ".join([roff.bold(command.name), *options, *arguments])


def _section(command: Command) -> str:
    texts = [_sentence(command.about), command.parser.description or ""]
    parts = [
        roff.subheading(command.name.partition(" ")[2]),
        roff.paragraphs(roff.escaped(text) for text in texts if text),
    ]
    for action in command.parser._actions:
        if not action.help or action.dest == "help":
            continue
        tag = ", ".join(_option(action, name) for name in action.option_strings)
        parts.append(roff.item(tag or roff.italic(_metavar(action)), roff.escaped(_help(action))))
    return "".join(parts)


def _options(actions: list[argparse.Action]) -> list[argparse.Action]:
    return [each for each in actions if each.option_strings]


def _option(action: argparse.Action, name: str) -> str:
    takes = action.nargs != 0
    return f"{roff.bold(name)} {roff.italic(_metavar(action))}" if takes else roff.bold(name)


def _argument(action: argparse.Action) -> str:
    name = roff.italic(_metavar(action))
    return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]"}.get(
        str(action.nargs), name
    )


def _metavar(action: argparse.Action) -> str:
    if action.metavar is None and action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest).upper()


def _help(action: argparse.Action) -> str:
    return argparse.HelpFormatter("")._expand_help(action)


def _sentence(text: str | None) -> str:
    text = text or ""
    return text[:1].upper() + text[1:].rstrip(".") + "."
