"""The network state of a namespace as text, to be compared before and after."""

from __future__ import annotations

import difflib

from tests.e2e.netns import Namespace
from tests.e2e.wait import wait_until

SCRIPT = r"""
ip rule show
ip -6 rule show
ip -o link show
ip -o addr show
ip route show table all
ip -6 route show table all
cd /proc/sys/net
grep -rs ^ core ipv4 ipv6 unix || [ $? = 2 ] # some can only be written to
nft list ruleset
"""


def state(namespace: Namespace) -> str:
    """Rules, links, addresses, routes of all tables, sysctls and the packet filter.

    Not the secret that an interface makes addresses of: once it has one it keeps it.
    """
    text = namespace.run("sh", "-ec", SCRIPT).stdout
    return "\n".join(line for line in text.splitlines() if "/stable_secret:" not in line)


def wait_for_state(namespace: Namespace, expected: str) -> None:
    """Waits until the state is the expected text; shows the difference if it never is."""

    def difference() -> str:
        now = state(namespace).splitlines()
        return "\n".join(difflib.unified_diff(expected.splitlines(), now, "before", "after"))

    wait_until(lambda: state(namespace) == expected, "the state to be as before", detail=difference)
