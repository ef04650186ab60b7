"""`tunrouter explain`: what becomes of packets to an address, or to each address of a host name."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

from router.cli import exits
from router.cli.rules_file import rules_file, valid_rules
from router.config.cidr import BadCidrError, parse_cidr
from router.config.model import Config
from router.config.problems import quoted
from router.config.ranges import BadRangeError, parse_networks
from router.platform import kernel_ways, present_network
from router.policy.answer import FORWARD, Answer, answer
from router.policy.findings.situation import Situation
from router.policy.interfaces import wanted_interfaces
from router.policy.match.table import RuleSet
from router.policy.match.traffic import PROTOCOL_NUMBERS, WITH_PORTS

Address = IPv4Address | IPv6Address
Question = tuple[Address, int | None, int | None]
"""A destination, and the number of a protocol and a port, as far as they are known."""


class BadQuestionError(ValueError):
    """The message names the value and the remedy."""


class Explained(NamedTuple):
    """What becomes of a destination: as text, and as JSON, one object for each address."""

    text: str
    as_json: list[dict[str, Any]]


def explain(
    given: Path | None, destination: str, protocol: str | None, port: int | None, *, as_json: bool
) -> int:
    """Print the answer; the exit status."""
    try:
        refuse_ports_without(protocol, port)
        addresses = resolve(destination)
    except BadQuestionError as error:
        print(f"tunrouter explain: {error}", file=sys.stderr)
        return exits.BAD_RULES
    loaded = valid_rules(rules_file(given), warnings=False)
    if loaded is None or loaded.config is None:
        return exits.BAD_RULES
    found = _explained(situation_of(loaded.config), addresses, protocol, port)
    if as_json:
        answers = found.as_json
        print(json.dumps(answers if len(answers) > 1 else answers[0], indent=1))
    else:
        print(found.text)
    return exits.OK


def explained(
    config: Config,
    destination: str,
    protocol: str | None,
    port: int | None,
    before_lookup: Callable[[], None],
) -> Explained:
    """The same by rules that are read. before_lookup: called before a name is looked up.

    Raises BadQuestionError.
    """
    situation = situation_of(config)
    before_lookup()
    return _explained(situation, resolve(destination), protocol, port)


def situation_of(config: Config) -> Situation:
    """The rules on this machine as it is at present."""
    network = present_network(sources_of=wanted_interfaces(config))
    return Situation.of(config, RuleSet.for_few_lookups(config), network)


def _explained(
    situation: Situation, addresses: Iterable[Address], protocol: str | None, port: int | None
) -> Explained:
    questions = [(address, _number(protocol, address), port) for address in addresses]
    answers = answers_about(situation, questions)
    text = "\n\n".join("\n".join(as_text_lines(situation, each)) for each in answers)
    return Explained(text, [as_json_members(situation, each) for each in answers])


def answers_about(situation: Situation, questions: Iterable[Question]) -> list[Answer]:
    """In the order of the questions."""
    ways = kernel_ways()
    try:
        return [answer(situation, ways, *each) for each in questions]
    finally:
        if ways is not None:
            ways.close()


def refuse_ports_without(protocol: str | None, port: int | None) -> None:
    """Raises BadQuestionError for a port of a protocol that has none."""
    if port is not None and protocol is not None and protocol not in WITH_PORTS:
        raise BadQuestionError(f"{protocol} has no ports: leave out --port or --protocol")


def resolve(destination: str) -> list[Address]:
    """The address itself, or those that the system finds for a host name, each once.

    Raises BadQuestionError.
    """
    bare = destination.strip("[]").partition("%")[0]
    try:
        return [ip_address(bare)]
    except ValueError:
        pass
    _refuse_ranges(destination)
    _refuse_numbers(destination)
    if "/" in destination or ":" in destination:
        raise BadQuestionError(_no_address(destination))
    try:
        found = socket.getaddrinfo(destination, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no host name"
        raise BadQuestionError(
            f"{quoted(destination)} is no address, and the system finds none for that name "
            f"({why}): write an address, as in tunrouter explain 192.0.2.1"
        ) from error
    addresses = (str(entry[4][0]).partition("%")[0] for entry in found)
    return [ip_address(address) for address in dict.fromkeys(addresses)]


def _refuse_ranges(destination: str) -> None:
    hint = ""
    try:
        networks = parse_networks(destination)
    except BadRangeError:
        pass
    except BadCidrError:
        return
    else:
        if "-" not in destination:
            return
        hint = f", such as {str(networks[0]).partition('/')[0]}"
    raise BadQuestionError(f"{quoted(destination)} is a range: give one address of it{hint}")


def _refuse_numbers(destination: str) -> None:
    """getaddrinfo() reads `010.1.1.1`, `1.2` and `0x7f.1` as inet_aton() does: as 8.1.1.1, 1.0.0.2
    and 127.0.0.1."""
    parts = destination.split(".")
    if not any(parts) or not all(re.fullmatch(r"[0-9]*|0[xX][0-9A-Fa-f]+", part) for part in parts):
        return
    try:
        parse_cidr(destination)
    except BadCidrError as error:
        raise BadQuestionError(f"{error.message}: {error.remedy}") from error


def _no_address(destination: str) -> str:
    try:
        network = ip_network(destination, strict=False)
    except ValueError:
        return f"{quoted(destination)} is neither an address nor a host name: write one of these"
    inside = next(iter(network.hosts()), network.network_address)
    return f"{quoted(destination)} is a network: write one address of it, such as {inside}"


def _number(protocol: str | None, address: Address) -> int | None:
    """The IP protocol number; ICMP has one in each family."""
    if protocol is None:
        return None
    numbers = PROTOCOL_NUMBERS[protocol]
    return numbers[-1] if address.version == 6 else numbers[0]


def as_json_members(situation: Situation, answer: Answer) -> dict[str, Any]:
    """The members that scripts rely on, in their order, and then some more."""
    config, explanation = situation.config, answer.explanation
    return {
        "destination": answer.destination,
        "captured": answer.captured,
        "rule": _rule_as_json(config, explanation.rule_index),
        "policy": answer.policy,
        "action": answer.action,
        "interface": answer.egress.interface,
        "source": answer.egress.source,
        "gateway": answer.egress.gateway,
        "state": "up" if answer.up else "down",
        "skipped": [
            {
                "index": skipped.rule_index,
                "line": config.rules[skipped.rule_index - 1].place.line,
                "why": skipped.why,
            }
            for skipped in explanation.skipped
        ],
        "branches": [
            {
                "index": branch.rule_index,
                "traffic": branch.traffic,
                "policy": situation.policy_of(branch.rule_index),
            }
            for branch in explanation.branches
        ],
        "applies": answer.applies,
        "kernel": answer.kernel,
        "path": answer.path,
        "unread": list(situation.network.unread),
    }


def _rule_as_json(config: Config, index: int) -> dict[str, Any] | None:
    if not index:
        return None
    rule = config.rules[index - 1]
    return {"index": index, "file": rule.place.file, "line": rule.place.line, "text": rule.text}


def as_text_lines(situation: Situation, answer: Answer) -> Iterator[str]:
    config, explanation = situation.config, answer.explanation
    yield answer.destination
    yield f"  rule     {_rule_in_words(config, explanation.rule_index)}"
    for branch in explanation.branches:
        who = f"rule {branch.rule_index}" if branch.rule_index else "the default"
        yield f"           {branch.traffic}: {who}, {situation.policy_of(branch.rule_index)}"
    yield f"  policy   {_policy_in_words(situation, answer)}"
    yield f"  action   {_action_in_words(answer, situation.network.readable)}"
    yield f"  kernel   {answer.kernel}"
    for skipped in explanation.skipped:
        line = config.rules[skipped.rule_index - 1].place.line
        yield f"  not      rule {skipped.rule_index}, line {line}: {skipped.why}"
    for what in situation.network.unread:
        yield f"  unknown  {what}"


def _rule_in_words(config: Config, index: int) -> str:
    if index:
        place = config.rules[index - 1].place
        return f"{index}, {place.file}:{place.line}: {config.rules[index - 1].text}"
    place_of_default = config.default_place
    where = f", {place_of_default.file}:{place_of_default.line}" if place_of_default else ""
    return f"none: the default{where}"


def _policy_in_words(situation: Situation, answer: Answer) -> str:
    policy = situation.config.policies[answer.policy]
    interface = policy.interface if policy.proxy is None else f"the proxy {policy.proxy}"
    if interface is None:
        return answer.policy
    if answer.applies != answer.policy and answer.up:
        return (
            f"{answer.policy}, by {interface}, which carries no ICMP, so {answer.applies} applies"
        )
    if not situation.network.readable:
        return f"{answer.policy}, by {interface}; whether it is up is not known"
    if answer.up:
        return f"{answer.policy}: up"
    return f"{answer.policy}, by {interface}: down, so {answer.applies} applies"


def _action_in_words(answer: Answer, known: bool) -> str:
    egress = answer.egress
    if not known or (egress.interface is None and answer.action != FORWARD):
        return answer.action
    if answer.proxy is not None:
        name = f", {egress.interface}" if egress.interface else ""
        return f"{answer.action}: by the proxy {answer.proxy}{name}"
    if egress.interface is None:
        return f"{answer.action}: but its interface has no address of that family"
    hop = f"next hop {egress.gateway}" if egress.gateway else "on the link"
    source = f" from {egress.source}" if egress.source else ""
    path = f", {answer.path}" if answer.path else ""
    return f"{answer.action}: by {egress.interface}{source}, {hop}{path}"
