"""The status of a router and the path of its control socket, for the tests of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from router.control.client import request
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import PROGRAM, TUN, rules

HOME, VPN, REPLY, DROP, REJECT, QUERIED, CONNECTED, DOWNLOADED = range(1, 9)
POLICIES: Final = ("home", "office", "reply", "drop", "reject", "home", "office", "home")
"""Of those hosts: one for each kind of traffic, so that no test meets a flow of another's."""
RULES: Final = rules(
    *(
        f"{family.far(host)} -> {policy}"
        for host, policy in enumerate(POLICIES, start=1)
        for family in FAMILIES
    )
)
"""Rule 2n - 1 is about host n in IPv4, rule 2n in IPv6."""
PING: Final = {4: 84, 6: 104}
"""Bytes of a usual ping's packet."""
COUNTED: Final = ("packets_out", "bytes_out", "packets_in", "bytes_in")

Status = dict[str, Any]


def read_status(namespace: Namespace, *options: str) -> Status:
    status: Status = json.loads(namespace.run(PROGRAM, "status", "--json", *options).stdout)
    return status


def state_of(namespace: Namespace, policy: str) -> str:
    """Up or down, asked without a process of its own."""
    policies = request(socket_of(namespace), {"command": "status"})["policies"]
    state: str = policies[policy]["state"]
    return state


def socket_of(namespace: Namespace, tun: str = TUN) -> Path:
    return namespace.runtime / f"{tun}.sock"


class Counted:
    """What a status counts for the policy and the rule of a host, to be compared with an earlier
    one's."""

    def __init__(self, bed: Testbed, family: Family, host: int) -> None:
        self._bed = bed
        self._place = 2 * host - 1 if family.version == 4 else 2 * host
        self._policy = POLICIES[host - 1]
        self._before = self._now()

    def since(self) -> dict[str, int]:
        """The increase since the beginning."""
        now = self._now()
        return {name: now[name] - self._before[name] for name in now}

    @property
    def flows(self) -> int:
        """Those of the rule, at present."""
        return self._now()["rule flows"]

    def _now(self) -> dict[str, int]:
        status = read_status(self._bed.router)
        rule = status["rules"][self._place - 1]
        assert (rule["index"], rule["policy"]) == (self._place, self._policy)
        policy = status["policies"][self._policy]
        assert policy["flows"] >= rule["flows"]
        numbers = {name: policy[name] for name in COUNTED}
        return {**numbers, "rule packets": rule["packets"], "rule flows": rule["flows"]}


class Answers:
    """The answers of a policy since the beginning, as `status` counts them."""

    def __init__(self, namespace: Namespace, policy: str) -> None:
        self._namespace = namespace
        self._policy = policy
        self._before = self.total()

    def total(self) -> tuple[int, int]:
        found = read_status(self._namespace)["policies"][self._policy]
        return found["packets_in"], found["bytes_in"]

    def since(self) -> tuple[int, int]:
        now = self.total()
        return now[0] - self._before[0], now[1] - self._before[1]


def counts(out: int, bytes_out: int, in_: int, bytes_in: int, flows: int = 0) -> dict[str, int]:
    """What `since` gives when that is what has passed, and so many flows are left."""
    return {
        **{"packets_out": out, "bytes_out": bytes_out, "packets_in": in_, "bytes_in": bytes_in},
        **{"rule packets": out + in_, "rule flows": flows},
    }
