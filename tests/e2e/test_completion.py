"""Completion in the real shells: what the parser has, and what the running router has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from router.cli.completion.tree import read, walk
from router.cli.parser import parser as whole_parser
from router.flows.trace.words import WORDS
from tests.e2e.terminal import Terminal
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import PROGRAM, TUN, Tunrouter, rules

NAMES = {"home", "office", "drop"}
RULES = rules(
    f"{V4.far(1)} -> home",
    f"{V4.far(2)} -> office",
    f"{V4.far(3)} -> home",
)
pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("router", "on_path")]
COMMANDS = walk(read(whole_parser()))


@pytest.fixture(scope="module")
def on_path() -> Iterator[None]:
    """The program, for shells that look for it."""
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{Path(PROGRAM).parent}:{before}"
    yield
    os.environ["PATH"] = before


def in_bash(bed: Testbed, *words: tuple[str, ...]) -> list[list[str]]:
    """What the last word of each line can be."""
    script = ["source <(tunrouter completion bash)"]
    for line in words:
        quoted = " ".join(f"'{word}'" for word in line)
        script.append(f"COMP_WORDS=(tunrouter {quoted}) COMP_CWORD={len(line)}")
        script.append("_tunrouter tunrouter; printf '%s\\n' \"${COMPREPLY[@]}\" .")
    done = bed.router.run("bash", "--norc", "-c", "\n".join(script))
    assert done.stderr == ""
    return [found.split("\n") for found in done.stdout.rstrip(".\n").split("\n.\n")]


def in_fish(bed: Testbed, *lines: str) -> list[list[str]]:
    script = ["source (tunrouter completion fish | psub)"]
    script += [f"complete -C '{line}'; echo ." for line in lines]
    done = bed.router.run("fish", "--no-config", "-c", "\n".join(script))
    assert done.stderr == ""
    parts = done.stdout.rstrip(".\n").split("\n.\n")
    return [[line.partition("\t")[0] for line in part.split("\n")] for part in parts]


def options_of(path: tuple[str, ...]) -> set[str]:
    (found,) = (command for each, command in COMMANDS if each == path)
    return {name for option in found.options for name in option.names}


def test_bash_has_every_command_and_option(bed: Testbed) -> None:
    paths = [path for path, _ in COMMANDS]
    found = in_bash(bed, *((*path, "-") for path in paths))
    assert [set(each) for each in found] == [options_of(path) for path in paths]
    (top,) = in_bash(bed, ("",))
    assert top == [path[0] for path, _ in COMMANDS if len(path) == 1]
    assert in_bash(bed, ("lists", "m")) == [["merge", "minus"]]
    assert in_bash(bed, ("service", "")) == [["systemd", "launchd"]]
    assert in_bash(bed, ("flows", "--sort", "i")) == [["idle"]]


def test_bash_has_what_the_router_has(bed: Testbed, tmp_path: Path) -> None:
    policies, some, equal, numbers, tuns = in_bash(
        bed,
        ("flows", "--policy", ""),
        ("flows", "--policy", "ho"),
        ("flows", "--json", "--policy", "=", "off"),
        ("flows", "--rule", ""),
        ("status", "--tun", ""),
    )
    assert set(policies) >= NAMES
    assert some == ["home"]
    assert equal == ["office"]
    assert numbers == ["0", "1", "2", "3"]
    assert tuns == [TUN]
    (tmp_path / "my rules.yaml").touch()
    assert in_bash(bed, ("check", "-c", f"{tmp_path}/my")) == [[f"{tmp_path}/my rules.yaml"]]


def test_bash_has_the_words_of_a_filter(bed: Testbed) -> None:
    words, policies, numbers, negated = in_bash(
        bed,
        ("trace", "tcp", "and", ""),
        ("trace", "tcp", "and", "policy", ""),
        ("trace", "rule", ""),
        ("trace", "--json", "not", "policy", "off"),
    )
    assert words == list(WORDS)
    assert set(policies) >= NAMES
    assert numbers == ["0", "1", "2", "3"]
    assert negated == ["office"]


def test_fish(bed: Testbed) -> None:
    paths = [path for path, _ in COMMANDS]
    found = in_fish(bed, *(" ".join(("tunrouter", *path, "--")) for path in paths))
    for path, each in zip(paths, found, strict=True):
        assert set(each) == {name for name in options_of(path) if name.startswith("--")}, path
    top, policies, numbers, tuns, orders, lists, words, named, numbered = in_fish(
        bed,
        "tunrouter ",
        "tunrouter flows --policy ",
        "tunrouter flows --rule ",
        "tunrouter reload --tun ",
        "tunrouter flows --sort ",
        "tunrouter lists ",
        "tunrouter trace tcp and ",
        "tunrouter trace not policy ",
        "tunrouter trace rule ",
    )
    assert set(words) == set(WORDS)
    assert (set(named), set(numbered)) == (set(policies), set(numbers))
    assert set(top) == {path[0] for path, _ in COMMANDS if len(path) == 1}
    assert set(policies) >= NAMES
    assert set(numbers) == {"0", "1", "2", "3"}
    assert tuns == [TUN]
    assert set(orders) == {"bytes", "age", "idle"}
    assert set(lists) == {"merge", "minus", "diff"}


def has_all(words: tuple[str, ...], text: str) -> bool:
    return all(word in text for word in words)


def test_zsh(bed: Testbed, tmp_path: Path) -> None:
    """In a terminal, as it completes nowhere else."""
    (tmp_path / ".zshrc").write_text(
        "PS1='> '\nautoload -Uz compinit\ncompinit -u -D\nsource <(tunrouter completion zsh)\n"
    )
    command = bed.router.command("zsh", "-i")
    with closing(Terminal(command, 100, 30, {"ZDOTDIR": str(tmp_path)})) as terminal:
        terminal.wait_for(lambda text: text.startswith(">"), "the prompt")
        for typed, expected in (
            ("tunrouter ", ("explain", "show which rule decides", "completion")),
            ("tunrouter flows --", ("--policy", "--sort", "those of a rule alone")),
            (
                "tunrouter flows --policy ",
                ("home", "office", "drop"),
            ),
            ("tunrouter flows --rule ", ("the default", V4.far(2))),
            ("tunrouter flows --sort ", ("bytes", "age", "idle")),
            ("tunrouter trace tcp and ", ("host", "dropped", "policy", "not")),
            ("tunrouter trace not policy ", ("home", "office", "drop")),
            ("tunrouter trace rule ", ("the default", V4.far(2))),
            ("tunrouter lists ", ("merge", "minus", "diff")),
            ("tunrouter check --format ", ("text", "json", "github")),
        ):
            terminal.press("\x15\x0c")  # an empty line on an empty screen
            terminal.wait_for(lambda text: text.rstrip() == ">", "an empty screen")
            terminal.press(f"{typed}\t")
            terminal.wait_for(partial(has_all, expected), f"what completes {typed!r}")
        terminal.press("\x15\x0ctunrouter sta\t")
        terminal.wait_for(lambda text: "tunrouter status" in text, "a whole word")
        terminal.press("\x15exit\r")
        terminal.end()


def test_what_the_router_has_is_named(bed: Testbed, router: Tunrouter) -> None:
    named = bed.router.run(PROGRAM, "completion", "policies").stdout.splitlines()
    assert {line.split("\t")[0] for line in named} >= NAMES
    numbered = bed.router.run(PROGRAM, "completion", "rules").stdout.splitlines()
    assert numbered[0] == "0\tthe default"
    assert numbered[2].startswith(f'2\t{{cidr: "{V4.far(2)}"')
    elsewhere = bed.client.run(PROGRAM, "completion", "rules")
    assert (elsewhere.stdout, elsewhere.stderr) == ("", "")
