"""Requests about one rule of policy routing: RTM_NEWRULE and RTM_DELRULE (linux/fib_rules.h).

Must not know: sockets.
"""

from __future__ import annotations

from typing import NamedTuple

from router.platform.linux.netlink.constants import (
    FR_ACT_TO_TBL,
    FRA_OIFNAME,
    FRA_PRIORITY,
    FRA_PROTOCOL,
    FRA_TABLE,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_DELRULE,
    RTM_NEWRULE,
)
from router.platform.linux.netlink.messages import RTMSG, U32_ATTRIBUTE, pack_attribute
from router.platform.linux.netlink.request import Request


class Rule(NamedTuple):
    """What is bound to the interface `oifname` finds its routes in `table`.

    family: AF_...; protocol: who made it, RTPROT_...
    """

    family: int
    oifname: str
    table: int
    priority: int
    protocol: int


def add_rule(rule: Rule) -> Request:
    """Refused with EEXIST where it exists."""
    return Request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, _body(rule))


def delete_rule(rule: Rule) -> Request:
    """Refused with ENOENT where there is none."""
    return Request(RTM_DELRULE, 0, _body(rule))


def _body(rule: Rule) -> bytes:
    body = RTMSG.pack(rule.family, 0, 0, 0, 0, 0, 0, FR_ACT_TO_TBL, 0)
    body += pack_attribute(FRA_OIFNAME, rule.oifname.encode() + b"\0")
    body += U32_ATTRIBUTE.pack(U32_ATTRIBUTE.size, FRA_TABLE, rule.table)
    body += U32_ATTRIBUTE.pack(U32_ATTRIBUTE.size, FRA_PRIORITY, rule.priority)
    return body + pack_attribute(FRA_PROTOCOL, bytes([rule.protocol]))
