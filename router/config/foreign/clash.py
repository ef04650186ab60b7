"""Configurations of Clash and mihomo, and their rule providers by themselves.

A connection to a bare address is what counts: names never match one. Rules behind MATCH are never
reached; without MATCH what no rule matches is direct.

Sources: https://wiki.metacubex.one, pages rules, rule-providers, proxies and proxy-groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from router.config.document import Mapping, Node, Scalar, parse_document
from router.config.document import Sequence as SequenceNode
from router.config.foreign.conditions import UntranslatableError
from router.config.foreign.lists import ReadFile, list_alone, list_lines
from router.config.foreign.model import (
    Choice,
    Definition,
    Fixed,
    ForeignRule,
    Group,
    Imported,
    InterfaceWay,
    Match,
    ProxyWay,
    Skipped,
    Unsupported,
)
from router.config.foreign.nodes import fields, is_true, items, named, number, word, words
from router.config.foreign.rule_words import Dialect, Words, split
from router.config.foreign.sets import Entries, RuleSets

BUILT_IN: Final[dict[str, Definition]] = {
    "DIRECT": Fixed.DIRECT,
    "REJECT": Fixed.REJECT,
    "REJECT-DROP": Fixed.DROP,
    "PASS": Skipped(),
    "COMPATIBLE": Fixed.DIRECT,
}
READ: Final = (
    *("rules", "Rule", "proxies", "Proxy", "proxy-groups", "Proxy Group"),
    *("rule-providers", "interface-name", "payload"),
)
"""Keys at the top whose lines are taken over or noted one by one."""
FIRST: Final = ("select", "fallback")
NOT_A_RULE: Final = "a setting of that program, no rule"
REACHED: Final = "never reached: MATCH stands before it"


def read_clash(file: str, text: str, read_file: ReadFile) -> Imported:
    """The file as it was read. Raises SyntaxProblemError, RulesFileUnreadable."""
    root = parse_document(file, text).root
    top = fields(root)
    imported = Imported(file)
    if isinstance(root, SequenceNode) or ("payload" in top and "rules" not in top):
        entries = _entries(root if isinstance(root, SequenceNode) else top["payload"])
        imported.networks = list_alone(imported, entries)
        return imported
    imported.definitions = BUILT_IN | dict(_definitions(top))
    interface = word(top.get("interface-name"))
    if interface is not None:
        line = top["interface-name"].line
        imported.definitions["DIRECT"] = InterfaceWay("direct", interface, line)
    _note_settings(imported, root)
    _read_rules(imported, top, _dialect(imported, top, read_file))
    return imported


def _note_settings(imported: Imported, root: Node | None) -> None:
    if not isinstance(root, Mapping):
        return
    for key, _ in root.entries():
        if isinstance(key, Scalar) and key.text not in READ:
            imported.note(key.line, key.text, NOT_A_RULE)


def _definitions(top: dict[str, Node]) -> Iterator[tuple[str, Definition]]:
    for name, node, found in named(top.get("proxies") or top.get("Proxy")):
        yield name, _proxy(name, node.line, found)
    for name, node, found in named(top.get("proxy-groups") or top.get("Proxy Group")):
        kind = word(found.get("type")) or "?"
        members = tuple(each.text for each in words(found.get("proxies")))
        choice = Choice.FIRST if kind in FIRST else Choice.MEASURED
        complete = not ({"use", "include-all", "include-all-proxies", "filter"} & found.keys())
        yield name, Group(name, kind, members, choice, node.line, complete)


def _proxy(name: str, line: int, found: dict[str, Node]) -> Definition:
    kind = word(found.get("type")) or "?"
    interface = word(found.get("interface-name"))
    if kind == "direct":
        if interface:
            return InterfaceWay(name, interface, line)
        return Group(name, kind, ("DIRECT",), Choice.FIRST, line)
    if kind == "reject":
        return Fixed.REJECT
    if kind != "socks5":
        return Unsupported(name, f"there is no way out of type {kind} here", line)
    if is_true(found.get("tls")):
        return Unsupported(name, "SOCKS5 by TLS is not possible here", line)
    return ProxyWay(
        name,
        word(found.get("server")) or "",
        number(found.get("port")),
        line,
        word(found.get("username")),
        is_true(found.get("udp")),
        word(found.get("dialer-proxy")),
        interface,
    )


def _dialect(imported: Imported, top: dict[str, Node], read_file: ReadFile) -> Dialect:
    providers = fields(top.get("rule-providers"))

    def find(name: str) -> Sequence[Match]:
        node = providers.get(name)
        if node is None:
            raise UntranslatableError("no rule provider of that name is defined")
        return _provided(fields(node), read_file, sets, dialect)

    sets = RuleSets(imported, find)
    dialect = Dialect(
        sets,
        "DST-PORT",
        "NETWORK",
        {"TCP": "tcp", "UDP": "udp"},
        families_apart=False,
        lan=True,
    )
    return dialect


def _provided(
    provider: dict[str, Node], read_file: ReadFile, sets: RuleSets, dialect: Dialect
) -> Sequence[Match]:
    behavior = word(provider.get("behavior")) or "?"
    if behavior == "domain":
        raise UntranslatableError("it is a list of names, and rules here match addresses")
    if word(provider.get("format")) == "mrs":
        raise UntranslatableError("its list is in the binary format mrs: convert it to text")
    file, entries = "", _entries(provider.get("payload"))
    if word(provider.get("type")) != "inline":
        file, entries = _from_file(provider, read_file)
    if behavior == "ipcidr":
        return sets.plain(entries, file)
    if behavior == "classical":
        return sets.classical(entries, dialect, file)
    raise UntranslatableError(f"there is no behavior {behavior}")


def _from_file(provider: dict[str, Node], read_file: ReadFile) -> tuple[str, Entries]:
    path = word(provider.get("path"))
    if path is None:
        raise UntranslatableError(
            "its list is fetched from a URL, which is not done here: save it beside the "
            "configuration and write 'type: file' with its path"
        )
    file, text = read_file(path)
    if word(provider.get("format")) == "text":
        return file, list_lines(text)
    from router.config.document import SyntaxProblemError  # noqa: PLC0415

    try:
        return file, _entries(fields(parse_document(file, text).root).get("payload"))
    except SyntaxProblemError as error:
        raise UntranslatableError(f"the list {error.problem.as_line()}") from None


def _entries(node: Node | None) -> Entries:
    return ((each.line, each.text) for each in words(node))


def _read_rules(imported: Imported, top: dict[str, Node], dialect: Dialect) -> None:
    imported.final = "DIRECT"
    is_reached = True
    for each in items(top.get("rules") or top.get("Rule")):
        if not isinstance(each, Scalar):
            imported.note(each.line, "a rule", "it is no text")
        elif not is_reached:
            imported.note(each.line, each.text, REACHED)
        else:
            is_reached = _read_rule(imported, each.line, each.text, dialect)


def _read_rule(imported: Imported, line: int, text: str, dialect: Dialect) -> bool:
    """Whether a rule behind this one is reached."""
    try:
        parts = [part.strip() for part in split(text)]
        kind = parts[0].upper()
        if kind == "MATCH" and len(parts) > 1:
            if isinstance(imported.definitions.get(parts[1]), Skipped):
                return True
            imported.final, imported.final_line = parts[1], line
            return False
        if len(parts) < 3:
            raise UntranslatableError("it does not have type, value and policy")  # noqa: TRY301
        matches = dialect.condition(Words(kind, parts[1], tuple(parts[3:])))
    except UntranslatableError as error:
        imported.note(line, text, str(error))
        return True
    for what, why in dialect.partly:
        imported.note(line, what, why)
    dialect.partly.clear()
    if matches:
        imported.rules.append(ForeignRule(matches, parts[2], line))
    return True
