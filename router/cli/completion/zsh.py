"""The script for zsh (zshcompsys(1), _arguments)."""

from __future__ import annotations

from collections.abc import Iterator

from router.cli.completion.tree import FILES, Command, Option, Values

HEAD = """\
#compdef tunrouter
# zsh completion for tunrouter: source it behind compinit, or put it as _tunrouter into a directory
# of $fpath

_tunrouter_values() {
    local -a found
    found=(${(f)"$(tunrouter completion $1 2>/dev/null)"})
    found=("${(@)found//:/\\:}")
    found=("${(@)found/$'\t'/:}")
    _describe -V $1 found
}
_tunrouter_words() {  # WORD=KIND ..., and words
    local kind=${${(M)@:#$words[CURRENT-1]=*}#*=}
    if [[ -n $kind ]]; then
        _tunrouter_values $kind
    else
        compadd -- "${(@)@:#*=*}"
    fi
}
"""
TAIL = """\
if [[ $funcstack[1] == _tunrouter ]]; then
    _tunrouter "$@"
else
    compdef _tunrouter tunrouter
fi
"""


def script(tree: Command) -> str:
    """A function for each command."""
    return HEAD + "\n".join(_functions(tree, "_tunrouter")) + "\n" + TAIL


def _functions(command: Command, name: str) -> Iterator[str]:
    for below in command.commands:
        yield from _functions(below, f"{name}_{below.name}")
    specs = [*(spec for option in command.options for spec in _option(option))]
    specs += [_positional(values, command.name) for values in command.positionals]
    if command.commands:
        specs += ["'1: :->command'", "'*:: :->arguments'"]
    yield f"{name}() {{"
    if command.commands:
        yield "    local state line curcontext=$curcontext"
        yield "    local -a commands"
    yield "    _arguments -C -s \\"
    yield " \\\n".join(f"        {spec}" for spec in specs)
    if command.commands:
        yield from _below(command, name)
    yield "}"


def _below(command: Command, name: str) -> Iterator[str]:
    yield "    case $state in"
    yield "        command)"
    yield "            commands=("
    for below in command.commands:
        yield f"                {_quoted(below.name + ':' + below.help)}"
    yield "            )"
    yield "            _describe command commands ;;"
    yield "        arguments)"
    yield "            case $words[1] in"
    for below in command.commands:
        yield f"                {below.name}) {name}_{below.name} ;;"
    yield "            esac ;;"
    yield "    esac"


def _option(option: Option) -> Iterator[str]:
    others = " ".join(option.names)
    for name in option.names:
        equals = "=" if option.values is not None and name.startswith("--") else ""
        values = "" if option.values is None else f":{option.values.name}:{_action(option.values)}"
        about = f"[{_escaped(option.help)}]" if option.help else ""
        yield _quoted(f"({others}){name}{equals}{about}{values}")


def _positional(values: Values, command: str) -> str:
    return _quoted(f"*:{_escaped(values.name or command)}:{_action(values)}")


def _action(values: Values) -> str:
    if values.kind == FILES:
        return "_files"
    if values.kind:
        return f" _tunrouter_values {values.kind}"  # by the space it gets no other arguments
    if values.after:
        behind = (f"{word}={kind}" for word, kind in values.after.items())
        return " ".join((" _tunrouter_words", *behind, *values.words))
    return f"({' '.join(values.words)})" if values.words else " "


def _escaped(text: str) -> str:
    for char in "\\[]:":
        text = text.replace(char, f"\\{char}")
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
