"""All that the host's own rules do to what leaves, judged.

Always true: what cannot be read is an obstacle that says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

from router.platform.linux.host_rules.egress import read_egress
from router.platform.linux.host_rules.ipsec import read_ipsec
from router.platform.linux.host_rules.iptables import read_iptables
from router.platform.linux.host_rules.limits import MOST_RULES, TooManyRulesError
from router.platform.linux.host_rules.nftables import read_nftables
from router.platform.reason import reason
from router.policy.host_rules.judgement import judge, unreadable
from router.policy.host_rules.model import DirectOutput, HostRules, Table

SOURCES: Final[Sequence[tuple[str, Callable[[], list[Table]]]]] = (
    ("the rules of nftables", read_nftables),
    ("the egress hooks of nftables", read_egress),
    ("the rules of iptables-legacy", read_iptables),
    ("the IPsec policies", read_ipsec),
)


def present_host_rules(outputs: Sequence[DirectOutput], unread: list[str]) -> HostRules:
    """As read_host_rules, for a report: without root they are taken for none, and that is added to
    `unread`."""
    if outputs and os.geteuid() != 0:
        unread.append(
            "the rules of this host's packet filter and its IPsec policies (only root may: run it "
            "by sudo), so the plan is that of a host without any"
        )
        return HostRules()
    return read_host_rules(outputs)


def read_host_rules(outputs: Sequence[DirectOutput]) -> HostRules:
    """For packets that leave by the direct path by these outputs."""
    tables: list[Table] = []
    for words, read in SOURCES:
        try:
            tables += read()
        except TooManyRulesError:
            return unreadable(f"{words} are more than {MOST_RULES} in a table", outputs)
        except OSError as error:
            return unreadable(f"{words} could not be read: {reason(error)}", outputs)
    return judge(tables, outputs)
