"""An expression of nf_tables as steps of a rule (linux/netfilter/nf_tables.h).

Always true: an expression that is not known here is an effect, never a condition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from router.platform.linux.host_rules import constants as nf
from router.platform.linux.host_rules.extensions import match_steps, target_effects
from router.platform.linux.netlink.messages import Attributes, attributes, text
from router.policy.host_rules.model import (
    Branch,
    Choose,
    Compare,
    Effect,
    Field,
    Jump,
    Load,
    Mask,
    Step,
)


class Scope(NamedTuple):
    """Of one table: its verdict maps, and its sets whose lookups count."""

    maps: Mapping[str, Sequence[Branch]]
    counting_sets: frozenset[str]


Decode = Callable[[Attributes, Scope], Iterator[Step]]

EFFECTS: Final = {
    "nat": Effect.TRANSLATES,
    "masq": Effect.TRANSLATES,
    "redir": Effect.TRANSLATES,
    "tproxy": Effect.TRANSLATES,
    "notrack": Effect.ALTERS,
    "synproxy": Effect.ALTERS,
    "queue": Effect.QUEUES,
    "reject": Effect.REFUSES,
    "dup": Effect.COPIES,
    "fwd": Effect.COPIES,
    "flow_offload": Effect.COPIES,
    "limit": Effect.LIMITS,
    "quota": Effect.LIMITS,
    "connlimit": Effect.LIMITS,
    "dynset": Effect.LIMITS,
    "numgen": Effect.LIMITS,
    "counter": Effect.COUNTS,
    "last": Effect.COUNTS,
    "log": Effect.LOGS,
    "inner": Effect.INSPECTS,
}
"""numgen takes turns or chances by packet."""

PORTS: Final = range(4)
TCP_FLAGS: Final = range(12, 16)
"""The bytes of a transport header that may be looked at although a frame is cut: the others are
lengths, sums, numbers and content."""
IP_LENGTH: Final = range(2, 6)
"""The bytes of a network header that hold the packet's length, in either version."""
LONGEST_HEADER: Final = 40
"""Bytes: behind them is content in either version."""


class StepReader:
    """Reads the rules of a table, whose expressions repeat each other."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._known: dict[bytes, list[Step]] = {}

    def rule(self, expressions: Iterable[bytes]) -> list[Step]:
        """The steps of a rule with these expressions (NFTA_LIST_ELEM)."""
        steps: list[Step] = []
        for expression in expressions:
            known = self._known.get(expression)
            if known is None:
                known = self._known[expression] = list(_steps(attributes(expression), self._scope))
            steps += known
        return steps


def number(payload: bytes | None) -> int:
    """An unsigned number of network byte order; 0 where there is none."""
    return int.from_bytes(payload or b"", "big")


def verdict(data: Attributes) -> Iterator[Jump | Effect]:
    """Of NFTA_DATA_VERDICT; none where an element of a map has no verdict."""
    if nf.NFTA_VERDICT_CODE not in data:
        return
    code = int.from_bytes(data[nf.NFTA_VERDICT_CODE], "big", signed=True)
    if code in (nf.NFT_JUMP, nf.NFT_GOTO):
        yield Jump(text(data[nf.NFTA_VERDICT_CHAIN]))
    elif code >= 0 and code & nf.NF_VERDICT_MASK in VERDICTS:
        yield VERDICTS[code & nf.NF_VERDICT_MASK]


VERDICTS: Final = {nf.NF_DROP: Effect.REFUSES, nf.NF_QUEUE: Effect.QUEUES}


def register(payload: bytes | None) -> int:
    """The number of the first of the 32-bit registers that the register consists of."""
    found = number(payload)
    if nf.NFT_REG_VERDICT < found <= nf.NFT_REG_4:
        return nf.NFT_REG32_00 + 4 * (found - 1)
    return found


def _steps(expression: Attributes, scope: Scope) -> Iterator[Step]:
    name = text(expression.get(nf.NFTA_EXPR_NAME))
    yield from steps_of(name, attributes(expression.get(nf.NFTA_EXPR_DATA, b"")), scope)


def steps_of(name: str, data: Attributes, scope: Scope) -> Iterator[Step]:
    """Of an expression by its name and its own attributes."""
    decode = DECODERS.get(name)
    if decode is not None:
        yield from decode(data, scope)
    else:
        yield EFFECTS.get(name, Effect.UNKNOWN)


def _meta(data: Attributes, _: Scope) -> Iterator[Step]:
    key = number(data.get(nf.NFTA_META_KEY))
    if nf.NFTA_META_SREG in data:
        yield Effect.ALTERS
        if META_FIELDS.get(key) is Field.MARK:
            yield Effect.SETS_MARK
    elif key == nf.NFT_META_LEN:
        yield Effect.INSPECTS
    elif key == nf.NFT_META_PRANDOM:
        yield Effect.LIMITS
    else:
        if key in META_OWNERS:
            yield Effect.MATCHES_OWNER
        yield Load(register(data.get(nf.NFTA_META_DREG)), META_FIELDS.get(key, Field.OTHER))


META_FIELDS: Final = {
    nf.NFT_META_OIF: Field.INTERFACE_INDEX,
    nf.NFT_META_OIFNAME: Field.INTERFACE_NAME,
    nf.NFT_META_NFPROTO: Field.VERSION,
    nf.NFT_META_MARK: Field.MARK,
    nf.NFT_META_PRIORITY: Field.MARK,
}


META_OWNERS: Final = frozenset({nf.NFT_META_SKUID, nf.NFT_META_SKGID, nf.NFT_META_CGROUP})


def _payload(data: Attributes, _: Scope) -> Iterator[Step]:
    target = register(data.get(nf.NFTA_PAYLOAD_DREG))
    base = number(data.get(nf.NFTA_PAYLOAD_BASE))
    offset = number(data.get(nf.NFTA_PAYLOAD_OFFSET))
    length = number(data.get(nf.NFTA_PAYLOAD_LEN))
    if nf.NFTA_PAYLOAD_SREG in data:
        yield Effect.ALTERS
    elif _is_content(base, range(offset, offset + length)):
        yield Effect.INSPECTS
    elif base == nf.NFT_PAYLOAD_NETWORK_HEADER:
        yield Load(target, Field.NETWORK_HEADER, offset, length)
    else:
        yield Load(target, Field.OTHER)


def _is_content(base: int, read: range) -> bool:
    """Whether the bytes may differ between a frame and the packets cut from it."""
    if base == nf.NFT_PAYLOAD_NETWORK_HEADER:
        reads_length = read.start < IP_LENGTH.stop and read.stop > IP_LENGTH.start
        return reads_length or read.stop > LONGEST_HEADER
    if base == nf.NFT_PAYLOAD_TRANSPORT_HEADER:
        return not any(
            read.start >= same.start and read.stop <= same.stop for same in (PORTS, TCP_FLAGS)
        )
    return True


def _compare(data: Attributes, _: Scope) -> Iterator[Step]:
    operator = number(data.get(nf.NFTA_CMP_OP))
    value = attributes(data.get(nf.NFTA_CMP_DATA, b"")).get(nf.NFTA_DATA_VALUE)
    if value is not None and operator in (nf.NFT_CMP_EQ, nf.NFT_CMP_NEQ):
        yield Compare(register(data.get(nf.NFTA_CMP_SREG)), value, operator == nf.NFT_CMP_EQ)


def _bitwise(data: Attributes, _: Scope) -> Iterator[Step]:
    mask = attributes(data.get(nf.NFTA_BITWISE_MASK, b"")).get(nf.NFTA_DATA_VALUE)
    flip = attributes(data.get(nf.NFTA_BITWISE_XOR, b"")).get(nf.NFTA_DATA_VALUE)
    target = register(data.get(nf.NFTA_BITWISE_DREG))
    is_mask = number(data.get(nf.NFTA_BITWISE_OP)) == nf.NFT_BITWISE_MASK_XOR
    if is_mask and mask is not None and flip is not None:
        yield Mask(register(data.get(nf.NFTA_BITWISE_SREG)), target, mask, flip)
    else:
        yield Load(target, Field.OTHER)


def _immediate(data: Attributes, _: Scope) -> Iterator[Step]:
    target = register(data.get(nf.NFTA_IMMEDIATE_DREG))
    value = attributes(data.get(nf.NFTA_IMMEDIATE_DATA, b""))
    if target == nf.NFT_REG_VERDICT:
        yield from verdict(attributes(value.get(nf.NFTA_DATA_VERDICT, b"")))
    else:
        yield Load(target, Field.OTHER)


def _lookup(data: Attributes, scope: Scope) -> Iterator[Step]:
    name = text(data.get(nf.NFTA_LOOKUP_SET))
    source = register(data.get(nf.NFTA_LOOKUP_SREG))
    if name in scope.counting_sets:
        yield Effect.COUNTS
    if nf.NFTA_LOOKUP_DREG not in data:
        return
    target = register(data[nf.NFTA_LOOKUP_DREG])
    if target == nf.NFT_REG_VERDICT:
        yield Choose(source, scope.maps.get(name, ()))
    else:
        yield Load(target, Field.OTHER)


def _ct(data: Attributes, _: Scope) -> Iterator[Step]:
    if nf.NFTA_CT_SREG in data:
        yield Effect.ALTERS
    elif number(data.get(nf.NFTA_CT_KEY)) in nf.NFT_CT_COUNTS:
        yield Effect.LIMITS
    else:
        yield Load(register(data.get(nf.NFTA_CT_DREG)), Field.OTHER)


def _exthdr(data: Attributes, _: Scope) -> Iterator[Step]:
    """Without any register, a TCP option is removed."""
    if nf.NFTA_EXTHDR_DREG in data:
        yield Load(register(data[nf.NFTA_EXTHDR_DREG]), Field.OTHER)
    else:
        yield Effect.ALTERS


def _fib(data: Attributes, _: Scope) -> Iterator[Step]:
    """A route lookup of the sender by the interface of arrival is the strict check of the reverse
    path."""
    is_type = number(data.get(nf.NFTA_FIB_RESULT)) == nf.NFT_FIB_RESULT_ADDRTYPE
    flags = number(data.get(nf.NFTA_FIB_FLAGS))
    of_destination = flags & nf.NFTA_FIB_F_DADDR
    if not is_type and flags & nf.NFTA_FIB_F_SADDR and flags & nf.NFTA_FIB_F_IIF:
        yield Effect.CHECKS_PATH
    field = Field.DESTINATION_TYPE if is_type and of_destination else Field.OTHER
    yield Load(register(data.get(nf.NFTA_FIB_DREG)), field)


def _object(data: Attributes, _: Scope) -> Iterator[Step]:
    """A named object; its kind is not known where a map names it."""
    kind = number(data.get(nf.NFTA_OBJREF_IMM_TYPE))
    yield OBJECTS.get(kind, Effect.ALTERS)


OBJECTS: Final = {
    0: Effect.COUNTS,
    nf.NFT_OBJECT_COUNTER: Effect.COUNTS,
    nf.NFT_OBJECT_QUOTA: Effect.LIMITS,
    nf.NFT_OBJECT_LIMIT: Effect.LIMITS,
    nf.NFT_OBJECT_CONNLIMIT: Effect.LIMITS,
}
"""By kind; the others belong to a connection, as helpers and timeouts do."""


def _socket(data: Attributes, _: Scope) -> Iterator[Step]:
    key = number(data.get(nf.NFTA_SOCKET_KEY))
    if key == nf.NFT_SOCKET_CGROUPV2:
        yield Effect.MATCHES_OWNER
    field = Field.MARK if key == nf.NFT_SOCKET_MARK else Field.OTHER
    yield Load(register(data.get(nf.NFTA_SOCKET_DREG)), field)


def _other(_data: Attributes, _: Scope) -> Iterator[Step]:
    """What only reads: the registers are not known any more."""
    yield Load(-1, Field.OTHER)


def _match(data: Attributes, _: Scope) -> Iterator[Step]:
    yield from match_steps(
        text(data.get(nf.NFTA_XT_NAME)),
        number(data.get(nf.NFTA_XT_REV)),
        data.get(nf.NFTA_XT_INFO, b""),
    )


def _target(data: Attributes, _: Scope) -> Iterator[Step]:
    yield from target_effects(text(data.get(nf.NFTA_XT_NAME)))


DECODERS: Final[Mapping[str, Decode]] = {
    "meta": _meta,
    "payload": _payload,
    "cmp": _compare,
    "bitwise": _bitwise,
    "immediate": _immediate,
    "lookup": _lookup,
    "ct": _ct,
    "exthdr": _exthdr,
    "fib": _fib,
    "objref": _object,
    "socket": _socket,
    "match": _match,
    "target": _target,
} | dict.fromkeys(("byteorder", "hash", "osf", "range", "rt", "xfrm"), _other)
