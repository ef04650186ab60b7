"""The `rules:` section.

Always true: rules keep their order and are counted from 1, those with mistakes included. A rule
that was reported for one thing is still read for the rest.

Must not know: which rule shadows which, or how lookups work.
"""

from __future__ import annotations

from router.config.cidr import BadCidrError, Cidr
from router.config.document import Mapping, Node, Scalar, Sequence
from router.config.fields import (
    Entry,
    Findings,
    as_items,
    is_nothing,
    missing_key,
    read_keys,
    wrong_type,
)
from router.config.lists import ListLibrary
from router.config.model import Place, Prefix, PrefixList, Range, Rule
from router.config.policy_table import PolicyTable
from router.config.ports import read_conditions
from router.config.problems import quoted
from router.config.ranges import BadRangeError, parse_networks
from router.config.schema import RULE_KEYS

SAMPLE = "{cidr: 10.0.0.0/8, policy: bypass}"


def read_rules(
    findings: Findings, entry: Entry | None, table: PolicyTable, library: ListLibrary
) -> tuple[Rule, ...]:
    """All rules. Their lists are empty until the library has read them."""
    if entry is None or is_nothing(entry.value):
        return ()
    section = entry.value
    if not isinstance(section, Sequence):
        wrong_type(findings, section, "'rules'", "a list", f"'- {SAMPLE}' on lines of their own")
        return ()
    return tuple(
        rule
        for index, node in enumerate(section.children, 1)
        if (rule := _rule(findings, index, node, table, library)) is not None
    )


def _rule(
    findings: Findings, index: int, node: Node, table: PolicyTable, library: ListLibrary
) -> Rule | None:
    if is_nothing(node) or (isinstance(node, Mapping) and not node.children):
        findings.error("empty-rule", node, f"rule {index} is empty", f"write '{SAMPLE}'")
        return None
    if not isinstance(node, Mapping):
        wrong_type(findings, node, f"rule {index}", "a mapping", f"'{SAMPLE}'")
        return None
    keys = read_keys(findings, node, RULE_KEYS, "a rule")
    prefixes, ranges = _destinations(findings, keys["cidr"].value) if "cidr" in keys else ((), ())
    lists = _lists(findings, keys["file"].value, library) if "file" in keys else ()
    if "cidr" not in keys and "file" not in keys:
        _report_no_destination(findings, index, node)
    protocols, ports = read_conditions(findings, keys.get("protocol"), keys.get("port"))
    policy, policy_place = _policy(findings, index, node, keys.get("policy"), table)
    return Rule(
        index=index,
        place=findings.place(node),
        policy=policy,
        policy_place=policy_place,
        prefixes=prefixes,
        ranges=ranges,
        lists=lists,
        protocols=protocols,
        ports=ports,
        text=findings.document.one_line(node),
    )


def _report_no_destination(findings: Findings, index: int, node: Node) -> None:
    findings.error(
        "empty-rule",
        node,
        f"rule {index} names no destination",
        "add 'cidr:' or 'file:'; everything is 'cidr: [0.0.0.0/0, \"::/0\"]'",
    )


def _policy(
    findings: Findings, index: int, node: Node, entry: Entry | None, table: PolicyTable
) -> tuple[str, Place]:
    """What the rule names. A rule in error gets an empty name, which nothing will look up."""
    if entry is None:
        missing_key(findings, node, "policy", f"rule {index}", "policy: bypass")
        return "", findings.place(node)
    name = table.refer(findings, entry.value, "policy")
    if name is not None:
        table.use(name)
    return name or "", findings.place(entry.value)


def _destinations(findings: Findings, node: Node) -> tuple[tuple[Prefix, ...], tuple[Range, ...]]:
    prefixes, ranges = [], []
    for item in as_items(findings, node, "'cidr'", "cidr: 10.0.0.0/8", "empty-rule"):
        networks = _networks(findings, item)
        place = findings.place(item)
        if len(networks) > 1:
            packed = tuple(network.packed for network in networks)
            ranges.append(Range(networks[0].version, packed, place))
        else:
            prefixes += [Prefix(each.version, each.first, each.length, place) for each in networks]
    return tuple(prefixes), tuple(ranges)


def _networks(findings: Findings, item: Scalar) -> tuple[Cidr, ...]:
    """One network, or those of a range; nothing after a report."""
    try:
        networks = parse_networks(item.text)
    except BadRangeError as error:
        findings.error("bad-range", item, error.message, error.remedy)
        return ()
    except BadCidrError as error:
        findings.error("bad-cidr", item, error.message, error.remedy)
        return ()
    network = networks[0]
    if network.host_bits:
        message = f"{quoted(item.text)} has host bits set; the network {network} is used"
        findings.warning("host-bits-set", item, message, f"write {network}")
    return networks


def _lists(findings: Findings, node: Node, library: ListLibrary) -> tuple[PrefixList, ...]:
    lists: list[PrefixList] = []
    for item in as_items(findings, node, "'file'", "file: lists/lan.txt", "empty-rule"):
        found = library.refer(item)
        if found is None:
            continue
        if any(found is other for other in lists):
            _report_repeated_list(findings, item)
        else:
            lists.append(found)
    return tuple(lists)


def _report_repeated_list(findings: Findings, item: Scalar) -> None:
    findings.warning(
        "duplicate-list",
        item,
        f"the list {quoted(item.text)} is named twice in this rule",
        "remove one of the two",
    )
