"""Chains of nf_tables that judge what arrives (the hooks `input` and `forward`), read for
router.policy.machine.

Always true: a condition that is not known here is undecided, never left out.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Final

from router.platform.linux.host_rules import constants as nf
from router.platform.linux.host_rules.expressions import Scope, number, register, steps_of
from router.platform.linux.host_rules.limits import MOST_RULES, TooManyRulesError
from router.platform.linux.host_rules.nftables import (
    FAMILIES,
    BaseChain,
    base_chains,
    elements,
    read_by,
    rules_of,
)
from router.platform.linux.netlink.messages import Attributes, attributes, text
from router.policy.host_rules.model import Compare, Mask
from router.policy.machine.arrivals import (
    ArrivalChain,
    ArrivalRule,
    Aspect,
    Read,
    Undecided,
    Verdict,
)

SCOPE: Final = Scope({}, frozenset())
ASPECTS: Final = {
    nf.NFT_META_IIF: Aspect.INDEX,
    nf.NFT_META_IIFNAME: Aspect.INTERFACE,
    nf.NFT_META_OIF: Aspect.OUT_INDEX,
    nf.NFT_META_OIFNAME: Aspect.OUT_INTERFACE,
    nf.NFT_META_NFPROTO: Aspect.VERSION,
    nf.NFT_META_L4PROTO: Aspect.PROTOCOL,
}
VERDICTS: Final = {
    nf.NF_DROP: Verdict.DROP,
    nf.NF_ACCEPT: Verdict.ACCEPT,
    nf.NFT_RETURN: Verdict.RETURN,
}
NO_CONDITION: Final = frozenset({"counter", "log", "last", "notrack", "objref"})
REFUSING: Final = frozenset({"REJECT", "DROP"})
"""Targets of iptables."""
HARMLESS: Final = frozenset({"LOG", "NFLOG", "AUDIT", "TRACE", "MARK", "CONNMARK", "SET"})

Condition = Read | Mask | Compare | Undecided


def read_arrivals(hook: int) -> list[ArrivalChain]:
    """Of NF_INET_LOCAL_IN or NF_INET_FORWARD. Raises OSError, TooManyRulesError."""

    def read(netlink: socket.socket) -> Iterator[ArrivalChain]:
        bases = [base for base in base_chains(netlink) if base.hook == hook]
        return (_chain(netlink, base) for base in bases)

    return read_by(read)


def _chain(netlink: socket.socket, base: BaseChain) -> ArrivalChain:
    family, versions = FAMILIES[base.table.family]
    others: dict[str, list[ArrivalRule]] = {}
    waiting, left = [base.name], MOST_RULES
    while waiting:
        name = waiting.pop()
        if name in others:
            continue
        others[name] = [_rule(each) for each in rules_of(netlink, base.table, name)]
        left -= len(others[name])
        if left < 0:
            raise TooManyRulesError
        waiting += [rule.jump for rule in others[name] if rule.jump is not None]
    table = f"{family} {base.table.name}"
    return ArrivalChain(
        f"the chain {base.name} of the nftables table {table}",
        f"nft insert rule {table} {base.name}",
        *(versions, base.name, base.drops, others),
    )


def _rule(expressions: bytes) -> ArrivalRule:
    conditions: list[Condition] = []
    for each in elements(expressions):
        expression = attributes(each)
        name = text(expression.get(nf.NFTA_EXPR_NAME))
        data = attributes(expression.get(nf.NFTA_EXPR_DATA, b""))
        final = _final(name, data)
        if final is not None:
            return final._replace(conditions=conditions)
        conditions += _conditions(name, data)
    return ArrivalRule(conditions)


def _final(name: str, data: Attributes) -> ArrivalRule | None:
    """What an expression decides; None where it does not."""
    if name == "reject":
        return ArrivalRule((), Verdict.DROP)
    if name == "target":
        target = text(data.get(nf.NFTA_XT_NAME))
        if target in HARMLESS:
            return None
        return ArrivalRule((), Verdict.DROP if target in REFUSING else Verdict.EITHER)
    if name == "immediate" and register(data.get(nf.NFTA_IMMEDIATE_DREG)) == nf.NFT_REG_VERDICT:
        return _verdict(attributes(data.get(nf.NFTA_IMMEDIATE_DATA, b"")))
    if name == "lookup" and _leads_to_verdicts(data):
        return ArrivalRule((), Verdict.EITHER)
    return None


def _leads_to_verdicts(data: Mapping[int, bytes]) -> bool:
    target = data.get(nf.NFTA_LOOKUP_DREG)
    return target is not None and register(target) == nf.NFT_REG_VERDICT


def _verdict(value: Attributes) -> ArrivalRule:
    data = attributes(value.get(nf.NFTA_DATA_VERDICT, b""))
    code = int.from_bytes(data.get(nf.NFTA_VERDICT_CODE, b""), "big", signed=True)
    if code in (nf.NFT_JUMP, nf.NFT_GOTO):
        chain = text(data[nf.NFTA_VERDICT_CHAIN])
        return ArrivalRule((), jump=chain, returns=code == nf.NFT_JUMP)
    return ArrivalRule((), VERDICTS.get(code, Verdict.EITHER))


def _conditions(name: str, data: Attributes) -> Iterator[Condition]:
    if name in NO_CONDITION or name == "target":
        return
    if name == "meta" and nf.NFTA_META_SREG not in data:
        aspect = ASPECTS.get(number(data.get(nf.NFTA_META_KEY)), Aspect.OTHER)
        yield Read(register(data.get(nf.NFTA_META_DREG)), aspect)
    elif name == "ct" and nf.NFTA_CT_SREG not in data:
        is_state = number(data.get(nf.NFTA_CT_KEY)) == nf.NFT_CT_STATE
        yield Read(register(data.get(nf.NFTA_CT_DREG)), Aspect.STATE if is_state else Aspect.OTHER)
    elif name == "payload":
        yield Read(register(data.get(nf.NFTA_PAYLOAD_DREG)), Aspect.OTHER)
    elif name in ("cmp", "bitwise"):
        found = [s for s in steps_of(name, data, SCOPE) if isinstance(s, Mask | Compare)]
        yield from found
        if not found:
            yield Undecided()
    else:
        yield Undecided()
