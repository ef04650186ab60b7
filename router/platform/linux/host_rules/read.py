"""All that the host's own rules do to what leaves, judged.

Always true: what cannot be read is an obstacle that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from router.platform.linux.host_rules.ipsec import read_ipsec
from router.platform.linux.host_rules.iptables import read_iptables
from router.platform.linux.host_rules.limits import MOST_RULES, TooManyRulesError
from router.platform.linux.host_rules.nftables import read_nftables
from router.platform.reason import reason
from router.policy.host_rules.judgement import judge, unreadable
from router.policy.host_rules.model import DirectOutput, HostRules, Table

SOURCES: Final[Sequence[tuple[str, Callable[[], list[Table]]]]] = (
    ("the rules of nftables", read_nftables),
    ("the rules of iptables-legacy", read_iptables),
    ("the IPsec policies", read_ipsec),
)


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
