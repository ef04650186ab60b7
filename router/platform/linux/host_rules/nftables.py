"""Tables of nf_tables (linux/netfilter/nf_tables.h), as the kernel lists them.

Always true: a change while they are read is reported afterwards (`watch`), so a list that was read
in the middle of a change is read again. A kernel without nf_tables has no rules.

Base chains of other hooks than output, postrouting and prerouting, and of other families, do not
matter here (see router.policy.host_rules, and `egress`), so only chains are read where these may
lead. The policy of a chain that drops is its last rule.
"""

from __future__ import annotations

import errno
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from router.platform.linux.host_rules import constants as nf
from router.platform.linux.host_rules.expressions import (
    Scope,
    StepReader,
    number,
    verdict,
)
from router.platform.linux.host_rules.limits import MOST_RULES, TooManyRulesError
from router.platform.linux.netlink.dump import dump
from router.platform.linux.netlink.messages import (
    Attributes,
    attributes,
    each_attribute,
    pack_attribute,
    text,
)
from router.platform.linux.only_on_linux import AF_NETLINK
from router.policy.host_rules.model import Branch, Effect, Rule, Table, targets

FAMILIES: Final = {
    nf.NFPROTO_IPV4: ("ip", (4,)),
    nf.NFPROTO_IPV6: ("ip6", (6,)),
    nf.NFPROTO_INET: ("inet", (4, 6)),
}
"""The names that nft gives them, and the versions of the packets that their tables see."""
OUTGOING: Final = frozenset({nf.NF_INET_LOCAL_OUT, nf.NF_INET_POST_ROUTING})
NO_NF_TABLES: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT})


T = TypeVar("T")


class TableKey(NamedTuple):
    family: int
    name: str


class BaseChain(NamedTuple):
    """hook: its number in the family. drops: whether that is the chain's policy."""

    table: TableKey
    name: str
    hook: int
    drops: bool


class BaseChains(NamedTuple):
    """Those of one table that matter."""

    outgoing: list[str]
    incoming: list[str]
    dropping: list[str]


class _Set(NamedTuple):
    name: str
    leads_to_verdicts: bool
    has_intervals: bool
    counts: bool


def read_nftables() -> list[Table]:
    """Those with chains that see what leaves or arrives. Raises OSError, TooManyRulesError."""
    return read_by(_read_tables)


def read_by(read: Callable[[socket.socket], Iterable[T]]) -> list[T]:
    """What is read by a socket of NETLINK_NETFILTER. Raises what `read` does."""
    try:
        with socket.socket(AF_NETLINK, socket.SOCK_RAW, nf.NETLINK_NETFILTER) as netlink:
            netlink.bind((0, 0))
            return list(read(netlink))
    except OSError as error:
        if error.errno in NO_NF_TABLES:
            return []
        raise


def _read_tables(netlink: socket.socket) -> Iterator[Table]:
    found = _base_chains(netlink)
    sets = _sets(netlink, found) if found else {}
    for key, chains in found.items():
        scope = _scope(netlink, key, sets.get(key, ()))
        name, versions = FAMILIES[key.family]
        rules = _reachable_rules(netlink, key, [*chains.outgoing, *chains.incoming], scope)
        for chain in chains.dropping:
            rules[chain].append([Effect.REFUSES])  # the policy comes last
        words = f"nftables table {name} {key.name}"
        yield Table(words, versions, rules, chains.outgoing, chains.incoming)


def _reachable_rules(
    netlink: socket.socket, table: TableKey, base_chains: Sequence[str], scope: Scope
) -> dict[str, list[Rule]]:
    """By chain; only those of the base chains and where they may lead."""
    found: dict[str, list[Rule]] = {}
    steps = StepReader(scope)
    waiting = list(base_chains)
    left = MOST_RULES
    while waiting:
        chain = waiting.pop()
        if chain not in found:
            found[chain] = []
            for expressions in islice(rules_of(netlink, table, chain), left + 1):
                found[chain].append(steps.rule(elements(expressions)))
            left -= len(found[chain])
            if left < 0:
                raise TooManyRulesError
            waiting += (name for rule in found[chain] for name in targets(rule))
    return found


def rules_of(netlink: socket.socket, table: TableKey, chain: str) -> Iterator[bytes]:
    """The expressions of each rule of a chain, in their order."""
    wanted = _named(nf.NFTA_RULE_TABLE, table.name) + _named(nf.NFTA_RULE_CHAIN, chain)
    for _, rule in dump_tables(netlink, nf.NFT_MSG_GETRULE, table.family, wanted):
        # A kernel that does not know the filters lists other rules as well.
        names = text(rule.get(nf.NFTA_RULE_TABLE)), text(rule.get(nf.NFTA_RULE_CHAIN))
        if names == (table.name, chain):
            yield rule.get(nf.NFTA_RULE_EXPRESSIONS, b"")


def _base_chains(netlink: socket.socket) -> dict[TableKey, BaseChains]:
    """Those of the hooks that matter."""
    found: dict[TableKey, BaseChains] = defaultdict(lambda: BaseChains([], [], []))
    for chain in base_chains(netlink):
        if chain.hook in OUTGOING:
            found[chain.table].outgoing.append(chain.name)
            if chain.drops:
                found[chain.table].dropping.append(chain.name)
        elif chain.hook == nf.NF_INET_PRE_ROUTING:
            found[chain.table].incoming.append(chain.name)
    return found


def base_chains(netlink: socket.socket) -> Iterator[BaseChain]:
    """Of the families that matter. Raises OSError."""
    for family, chain in dump_tables(netlink, nf.NFT_MSG_GETCHAIN):
        yield from base_chain(family, chain)


def base_chain(family: int, chain: Attributes) -> Iterator[BaseChain]:
    """None where the chain has no hook."""
    hook = attributes(chain.get(nf.NFTA_CHAIN_HOOK, b"")).get(nf.NFTA_HOOK_HOOKNUM)
    if hook is not None:
        key = TableKey(family, text(chain.get(nf.NFTA_CHAIN_TABLE)))
        policy = chain.get(nf.NFTA_CHAIN_POLICY)
        drops = policy is not None and number(policy) == nf.NF_DROP
        yield BaseChain(key, text(chain.get(nf.NFTA_CHAIN_NAME)), number(hook), drops)


def _sets(netlink: socket.socket, tables: Mapping[TableKey, object]) -> dict[TableKey, list[_Set]]:
    found: dict[TableKey, list[_Set]] = defaultdict(list)
    for family, each in dump_tables(netlink, nf.NFT_MSG_GETSET):
        table = TableKey(family, text(each.get(nf.NFTA_SET_TABLE)))
        if table in tables:
            found[table].append(_set(each))
    return found


def _set(data: Attributes) -> _Set:
    flags = number(data.get(nf.NFTA_SET_FLAGS))
    counts = nf.NFTA_SET_EXPR in data or nf.NFTA_SET_EXPRESSIONS in data
    return _Set(
        text(data.get(nf.NFTA_SET_NAME)),
        number(data.get(nf.NFTA_SET_DATA_TYPE)) == nf.NFT_DATA_VERDICT,
        bool(flags & nf.NFT_SET_INTERVAL),
        counts or bool(flags & nf.NFT_SET_EVAL),
    )


def _scope(netlink: socket.socket, table: TableKey, sets: Sequence[_Set]) -> Scope:
    maps = [each for each in sets if each.leads_to_verdicts]
    return Scope(
        {each.name: list(_branches(netlink, table, each)) for each in maps},
        frozenset(each.name for each in sets if each.counts),
    )


def _branches(netlink: socket.socket, table: TableKey, of: _Set) -> Iterator[Branch]:
    """Of a verdict map. Raises OSError."""
    wanted = _named(nf.NFTA_SET_ELEM_LIST_TABLE, table.name)
    wanted += _named(nf.NFTA_SET_ELEM_LIST_SET, of.name)
    for _, listed in dump_tables(netlink, nf.NFT_MSG_GETSETELEM, table.family, wanted):
        listing = listed.get(nf.NFTA_SET_ELEM_LIST_ELEMENTS, b"")
        yield from branches(listing, has_intervals=of.has_intervals)


def branches(listing: bytes, *, has_intervals: bool) -> Iterator[Branch]:
    """Of elements of a verdict map. An interval is listed as two elements, of which the second has
    no verdict, so its values are taken for unknown."""
    for each in elements(listing):
        element = attributes(each)
        key = attributes(element.get(nf.NFTA_SET_ELEM_KEY, b"")).get(nf.NFTA_DATA_VALUE)
        data = attributes(element.get(nf.NFTA_SET_ELEM_DATA, b""))
        for step in verdict(attributes(data.get(nf.NFTA_DATA_VERDICT, b""))):
            yield Branch(step, None if has_intervals else key)


def dump_tables(
    netlink: socket.socket, request: int, family: int = 0, filters: bytes = b""
) -> Iterator[tuple[int, Attributes]]:
    """(family, attributes) of every object of the families that matter. Raises OSError."""
    for (found, _, _), data in dump(netlink, request, family, nf.NFGENMSG, filters):
        if found in FAMILIES:
            yield found, data


def _named(kind: int, name: str) -> bytes:
    return pack_attribute(kind, name.encode() + b"\0")


def elements(data: bytes) -> Iterator[bytes]:
    """Those of a list (NFTA_LIST_ELEM)."""
    return (payload for kind, payload in each_attribute(data) if kind == nf.NFTA_LIST_ELEM)
