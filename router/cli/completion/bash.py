"""The script for bash (bash(1), Programmable Completion)."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from router.cli.completion.tree import FILES, Command, Values, walk

HEAD = """\
# bash completion for tunrouter: source it, or put it into
# ~/.local/share/bash-completion/completions/tunrouter

_tunrouter() {
    local program=$1 current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local path= words= kind= word
    COMPREPLY=()
    if [[ $current == = ]]; then  # bash splits --option=value into three words
        current=
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$path/$word" in
"""
TAIL = """\
    esac
    if [[ -z $words$kind ]]; then
        return
    elif [[ $kind == files ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    elif [[ -n $kind ]]; then
        while IFS=$'\\t' read -r word _; do
            [[ $word == "$current"* ]] && COMPREPLY+=("$word")
        done < <("$program" completion "$kind" 2>/dev/null)
    fi
    if [[ -n $words ]]; then
        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}
complete -F _tunrouter tunrouter
"""


def script(tree: Command) -> str:
    """Completes by the last command of the line, and by the option before the word."""
    return HEAD + "\n".join(_lines(tree)) + "\n" + TAIL


def _lines(tree: Command) -> Iterator[str]:
    paths = [path for path, _ in walk(tree) if path]
    yield f"            {'|'.join(map(_key, paths))}) path=$path/$word ;;"
    yield "        esac"
    yield "    done"
    yield '    case "$path $previous" in'
    for path, command in walk(tree):
        for option in command.options:
            if option.values is not None:
                keys = "|".join(quote(f"{_key(path)} {name}") for name in option.names)
                yield f"        {keys}) {_assign([option.values])} ;;"
        for word, kind in (each for values in command.positionals for each in values.after.items()):
            yield f"        {quote(f'{_key(path)} {word}')}) words= kind={kind} ;;"
    yield '        *) case "$path" in'
    for path, command in walk(tree):
        options = [name for option in command.options for name in option.names]
        yield f"            {quote(_key(path))})"
        yield f"                if [[ $current == -* ]]; then words={quote(' '.join(options))}"
        yield f"                else {_assign(command.values)}; fi ;;"
    yield "        esac ;;"


def _key(path: tuple[str, ...]) -> str:
    return "".join(f"/{word}" for word in path)


def _assign(values: list[Values]) -> str:
    words = [word for each in values for word in each.words]
    kinds = [each.kind for each in values if each.kind]
    kind = FILES if FILES in kinds else kinds[0] if kinds else ""
    return f"words={quote(' '.join(words))} kind={kind}"
