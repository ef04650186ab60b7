"""Rules as Clash, mihomo and Surge write them: `TYPE,VALUE,POLICY,parameters`, and `TYPE,VALUE` in
lists.

Sources: the rules pages of https://wiki.metacubex.one and https://manual.nssurge.com; mihomo,
rules/parser.go and rules/common/geoip.go.

Must not know: what stands around a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final, NamedTuple

from router.config.foreign.conditions import (
    Combiner,
    UntranslatableError,
    either,
    host_or_network,
    port_ranges,
)
from router.config.foreign.model import Match
from router.config.problems import quoted

DEEPEST: Final = 16
"""Logical rules within each other."""

BY_NAME: Final = "it matches names, and rules here match addresses"
BY_DATABASE: Final = "a database decides; name a list of its networks with 'file:' instead"
BY_SOURCE: Final = "it matches where a connection comes from, and rules here match where it goes"
BY_PROGRAM: Final = "it matches programs or users, and rules here match addresses"
BY_ENTRANCE: Final = "it matches how a connection reached that program"
BY_CONTENT: Final = "it matches what a connection carries"
BY_STATE: Final = "it depends on the state of the device"

REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            *("DOMAIN", "DOMAIN-SUFFIX", "DOMAIN-KEYWORD", "DOMAIN-REGEX", "DOMAIN-WILDCARD"),
            *("DOMAIN-SET", "GEOSITE", "HOSTNAME-TYPE"),
        ),
        BY_NAME,
    ),
    **dict.fromkeys(("GEOIP", "IP-ASN"), BY_DATABASE),
    **dict.fromkeys(
        (
            *("SRC-IP", "SRC-IP-CIDR", "SRC-IP-SUFFIX", "SRC-GEOIP", "SRC-IP-ASN", "SRC-PORT"),
            *("SRC-MAC", "DEVICE-NAME", "MAC-ADDRESS"),
        ),
        BY_SOURCE,
    ),
    **dict.fromkeys(
        (
            *("PROCESS-NAME", "PROCESS-NAME-REGEX", "PROCESS-NAME-WILDCARD", "PROCESS-PATH"),
            *("PROCESS-PATH-REGEX", "PROCESS-PATH-WILDCARD", "UID"),
        ),
        BY_PROGRAM,
    ),
    **dict.fromkeys(("IN-PORT", "IN-TYPE", "IN-USER", "IN-NAME"), BY_ENTRANCE),
    **dict.fromkeys(("USER-AGENT", "URL-REGEX", "DSCP", "PROTOCOL"), BY_CONTENT),
    **dict.fromkeys(("SCRIPT", "SUBNET", "CELLULAR-RADIO", "SCHEDULE"), BY_STATE),
    "SUB-RULE": "rules within rules",
    "IP-SUFFIX": "it matches the end of an address, and rules here match its beginning",
}
LAN: Final = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16"),
    *("224.0.0.0/4", "0.0.0.0/32", "fc00::/7", "::1/128", "fe80::/10", "ff00::/8", "::/128"),
)
"""What mihomo's GEOIP,LAN is: private, loopback, link-local and multicast addresses, and none."""

FindSet = Callable[[str], Sequence[Match]]
"""The traffic of a rule set, by its name. Raises UntranslatableError."""


class Words(NamedTuple):
    """A rule, or an entry of a list. `parameters` is what follows the value."""

    type: str
    value: str
    parameters: tuple[str, ...]


@dataclass(slots=True)
class Dialect:
    """What differs by program. sets: of RULE-SET; lan: whether GEOIP,LAN is known; protocols: the
    words behind NETWORK or PROTOCOL that mean one exactly.

    partly: notes about parts of an `or` that are left out, (what, why).
    """

    sets: FindSet
    port_type: str
    protocol_type: str
    protocols: Mapping[str, str]
    families_apart: bool
    lan: bool
    partly: list[tuple[str, str]] = field(default_factory=list)
    _combiner: Combiner = field(default_factory=Combiner)
    _within_not: bool = False

    def condition(self, words: Words, depth: int = 0) -> tuple[Match, ...]:
        """Raises UntranslatableError."""
        if depth > DEEPEST:
            raise UntranslatableError(f"conditions are nested more than {DEEPEST} deep")
        kind, value = words.type, words.value
        if kind in ("AND", "OR", "NOT"):
            return self._logical(kind, value, depth)
        if kind == "RULE-SET":
            return self._set(words)
        return (self._plain(words),)

    def _plain(self, words: Words) -> Match:
        kind, value = words.type, words.value
        if kind in ("IP-CIDR", "IP-CIDR6"):
            return self._network(words)
        if kind == self.port_type:
            return Match(ports=port_ranges(_port_parts(value), "-"))
        if kind == self.protocol_type and value.upper() in self.protocols:
            return Match(protocols=frozenset({self.protocols[value.upper()]}))
        if kind == "GEOIP" and self.lan and value.upper() == "LAN":
            _refuse_source(words)
            return Match(networks=tuple(map(host_or_network, LAN)))
        unknown = f"the type {quoted(kind, 30)} is not known here"
        raise UntranslatableError(REASONS.get(kind, unknown))

    def _set(self, words: Words) -> tuple[Match, ...]:
        _refuse_source(words)
        if self._within_not:
            raise UntranslatableError("everything but a rule set is no rule here")
        return tuple(self.sets(words.value))

    def _network(self, words: Words) -> Match:
        _refuse_source(words)
        network = host_or_network(words.value)
        if self.families_apart and (network.version == 6) != (words.type == "IP-CIDR6"):
            raise UntranslatableError(f"an IPv{network.version} network does not fit the type")
        return Match(networks=(network,))

    def _logical(self, kind: str, value: str, depth: int) -> tuple[Match, ...]:
        parts = split(_within(value))
        if kind == "NOT":
            return self._not(parts[0], depth)
        conditions: list[tuple[Match, ...]] = []
        for part in parts:
            try:
                conditions.append(self.condition(read_words(_within(part)), depth + 1))
            except UntranslatableError as error:
                if kind == "AND" or self._within_not:
                    raise UntranslatableError(f"{part.strip()[:60]}: {error}") from None
                self.partly.append((f"{part.strip()} in an OR", str(error)))
        if not conditions:
            raise UntranslatableError("nothing in it can be a rule here")
        return either(conditions) if kind == "OR" else reduce(self._combiner.both, conditions)

    def _not(self, part: str, depth: int) -> tuple[Match, ...]:
        """Nothing of what is negated may be left out."""
        was, self._within_not = self._within_not, True
        try:
            return self._combiner.negated(self.condition(read_words(_within(part)), depth + 1))
        finally:
            self._within_not = was


def read_words(text: str) -> Words:
    """A rule without its policy. Raises UntranslatableError."""
    parts = [part.strip() for part in split(text)]
    if len(parts) < 2:
        raise UntranslatableError("there is no value behind its type")
    return Words(parts[0].upper(), parts[1], tuple(parts[2:]))


def split(text: str) -> list[str]:
    """At commas that stand in no parentheses. Raises UntranslatableError."""
    parts, depth, begin = [], 0, 0
    for at, char in enumerate(text):
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
        if depth < 0 or depth > 4 * DEEPEST:
            break
    if depth:
        raise UntranslatableError("its parentheses do not match")
    return [*parts, text[begin:]]


def _within(text: str) -> str:
    """What stands in the parentheses that a text consists of. Raises UntranslatableError."""
    text = text.strip()
    if not (text.startswith("(") and text.endswith(")")):
        raise UntranslatableError("a condition without parentheses")
    return text[1:-1]


def _port_parts(value: str) -> list[str]:
    """As ranges with a hyphen. `80/443/8000-9000`, `>=50000`, `<1024`."""
    return [_compared(part.strip()) for part in value.replace(",", "/").split("/")]


def _compared(part: str) -> str:
    number = part.lstrip("<>= ")
    if part == number or not (number.isascii() and number.isdecimal()):
        return part
    port = int(number[:9])
    if part.startswith(">"):
        return f"{port if part.startswith('>=') else port + 1}-"
    return f"1-{port if part.startswith('<=') else port - 1}"


def _refuse_source(words: Words) -> None:
    if "src" in words.parameters:
        raise UntranslatableError(BY_SOURCE)
