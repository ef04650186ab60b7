"""The script for fish (complete(1) of fish)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from router.cli.completion.tree import FILES, Command, Option, Values, walk

HEAD = """\
# fish completion for tunrouter: source it, or put it into
# ~/.config/fish/completions/tunrouter.fish

function __tunrouter_values
    tunrouter completion $argv[1] 2>/dev/null
end
function __tunrouter_behind
    contains -- (commandline -poc)[-1] $argv
end
complete -c tunrouter -f
"""


def script(tree: Command) -> str:
    """A line for each command and each option."""
    return HEAD + "\n".join(line for path, each in walk(tree) for line in _of(path, each)) + "\n"


def _of(path: tuple[str, ...], command: Command) -> Iterator[str]:
    condition = _condition(path, command)
    for below in command.commands:
        yield f"{condition} -a {_quoted(below.name)} -d {_quoted(below.help)}"
    for values in command.positionals:
        if arguments := _arguments(values):
            behind = f"not __tunrouter_behind {' '.join(values.after)}"
            place = _condition(path, command, *([behind] if values.after else []))
            yield f"{place} {arguments}"
        for word, kind in values.after.items():
            place = _condition(path, command, f"__tunrouter_behind {word}")
            yield f"{place} {_arguments(Values(word, kind=kind))}"
    for option in command.options:
        yield f"{condition} {_option(option)}"


def _condition(path: Sequence[str], command: Command, *further: str) -> str:
    """Where a command is the last one on the line, and further tests succeed."""
    tests = [f"__fish_seen_subcommand_from {word}" for word in path]
    if command.commands:
        below = " ".join(each.name for each in command.commands)
        tests.append(f"not __fish_seen_subcommand_from {below}")
    tests += further
    return f"complete -c tunrouter -n {_quoted('; and '.join(tests))}"


def _option(option: Option) -> str:
    names = (
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
    )
    text = f"{' '.join(names)} -d {_quoted(option.help)}"
    if option.values is None:
        return text
    needs = "-r" if option.values.kind == FILES else "-x"  # -x: no file names
    return f"{text} {needs} {_arguments(option.values)}".rstrip()


def _arguments(values: Values) -> str:
    if values.kind == FILES:
        return "-F"
    if values.kind:
        return f"-a '(__tunrouter_values {values.kind})'"
    return f"-a {_quoted(' '.join(values.words))}" if values.words else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
