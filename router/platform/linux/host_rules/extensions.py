"""Matches and targets of iptables by their names, as steps of a rule.

iptables has them in its own tables, and in nf_tables as expressions of nft_compat.

Sources: linux/netfilter/xt_*.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from router.platform.linux.host_rules.conditions import REGISTER, masked_is
from router.policy.host_rules.model import RTN_LOCAL, Compare, Effect, Field, Load, Step

PURE_MATCHES: Final = frozenset(
    {
        "addrtype", "ah", "cluster", "comment", "connlabel", "connmark", "conntrack",
        "cpu", "dccp", "devgroup", "dscp", "ecn", "esp", "eui64", "helper", "hl", "icmp", "icmp6",
        "ipcomp", "iprange", "mac", "mark", "mh", "multiport", "physdev", "pkttype",
        "policy", "realm", "rpfilter", "sctp", "set", "socket", "state", "tcp", "time", "tos",
        "ttl", "udp",
    }
)  # fmt: skip
"""What they read is the same in a frame and in the packets cut from it, and they keep no state."""
OWNER_MATCHES: Final = frozenset({"cgroup", "owner"})
LIMITING_MATCHES: Final = frozenset(
    {
        "connbytes", "connlimit", "hashlimit", "limit", "nfacct", "quota", "rateest", "recent",
        "statistic",
    }
)  # fmt: skip
INSPECTING_MATCHES: Final = frozenset({"bpf", "length", "string", "tcpmss", "u32"})

TARGETS: Final = {
    "REJECT": Effect.REFUSES,
    "DNAT": Effect.TRANSLATES,
    "MASQUERADE": Effect.TRANSLATES,
    "NETMAP": Effect.TRANSLATES,
    "REDIRECT": Effect.TRANSLATES,
    "SNAT": Effect.TRANSLATES,
    "DNPT": Effect.TRANSLATES,
    "SNPT": Effect.TRANSLATES,
    "CHECKSUM": Effect.ALTERS,
    "CLASSIFY": Effect.ALTERS,
    "CONNMARK": Effect.ALTERS,
    "CONNSECMARK": Effect.ALTERS,
    "CT": Effect.ALTERS,
    "DSCP": Effect.ALTERS,
    "ECN": Effect.ALTERS,
    "HL": Effect.ALTERS,
    "HMARK": Effect.ALTERS,
    "MARK": Effect.ALTERS,
    "NOTRACK": Effect.ALTERS,
    "SECMARK": Effect.ALTERS,
    "TCPMSS": Effect.ALTERS,
    "TCPOPTSTRIP": Effect.ALTERS,
    "TOS": Effect.ALTERS,
    "TTL": Effect.ALTERS,
    "NFQUEUE": Effect.QUEUES,
    "TEE": Effect.COPIES,
    "SET": Effect.COUNTS,
    "AUDIT": Effect.LOGS,
    "LOG": Effect.LOGS,
    "NFLOG": Effect.LOGS,
    "TRACE": Effect.LOGS,
}
"""By name what a target does."""

MARKING_TARGETS: Final = frozenset({"CLASSIFY", "CONNMARK", "HMARK", "MARK", "SET"})
"""Those that may set the mark or priority of a packet."""

MARK: Final = Struct("=4s4sB")
"""linux/netfilter/xt_mark.h, revision 1: mark, mask, whether it is inverted."""
ADDRTYPE: Final = Struct("=HHI")
"""linux/netfilter/xt_addrtype.h: source and destination types as bits; flags from revision 1 on,
before it whether the source's is inverted, followed by the same of the destination."""
RPFILTER_LOOSE: Final = 1
"""linux/netfilter/xt_rpfilter.h: a flag in the first byte."""
ADDRTYPE_LOCAL: Final = 1 << 2
ADDRTYPE_INVERT_DEST: Final = 0x2
NO_REGISTER: Final = -2
"""Of what a match of iptables reads by itself."""


def match_steps(name: str, revision: int, info: bytes) -> Iterator[Step]:
    """Of a match with its data; one that can't be decided has none."""
    if name == "addrtype" and _is_for_local_destinations(revision, info):
        yield from (Load(NO_REGISTER, Field.DESTINATION_TYPE), Compare(NO_REGISTER, RTN_LOCAL))
    elif name == "mark" and revision == 1 and len(info) >= MARK.size:
        mark, mask, is_inverted = MARK.unpack_from(info)
        yield from masked_is(Load(REGISTER, Field.MARK), mark, mask, equal=not is_inverted)
    elif name == "rpfilter" and info and not info[0] & RPFILTER_LOOSE:
        yield Effect.CHECKS_PATH
    elif name in OWNER_MATCHES:
        yield Effect.MATCHES_OWNER
    elif name in LIMITING_MATCHES:
        yield Effect.LIMITS
    elif name in INSPECTING_MATCHES:
        yield Effect.INSPECTS
    elif name not in PURE_MATCHES:
        yield Effect.UNKNOWN


def target_effects(name: str) -> Iterator[Effect]:
    yield TARGETS.get(name, Effect.UNKNOWN)
    if name in MARKING_TARGETS:
        yield Effect.SETS_MARK


def _is_for_local_destinations(revision: int, info: bytes) -> bool:
    """Whether `--dst-type LOCAL` is among the conditions of an addrtype match."""
    if revision == 0 or len(info) < ADDRTYPE.size:
        return False
    _, destination, flags = ADDRTYPE.unpack_from(info)
    return destination == ADDRTYPE_LOCAL and not flags & ADDRTYPE_INVERT_DEST
