"""What policies lead to together, once all of them are known: loops, the TUN itself, and policies
that nothing leads to.

Must not know: how a policy is written.
"""

from __future__ import annotations

from collections.abc import Callable

from router.config.fields import Findings
from router.config.model import Place, Policy, Tun
from router.config.policy_table import PolicyTable
from router.config.problems import quoted
from router.config.schema import BUILT_IN_POLICIES


def check_interfaces(findings: Findings, table: PolicyTable, tun: Tun) -> None:
    """An outbound by the TUN itself would be a loop."""
    for policy in table.policies.values():
        if tun.name is not None and policy.interface == tun.name and policy.interface_place:
            findings.error(
                "interface-is-tun",
                policy.interface_place,
                f"{quoted(tun.name)} is the router's own TUN device",
                "name the interface that the packets are to leave by",
            )


Next = Callable[[Policy], tuple[str | None, Place | None]]
"""The policy that a key of a policy names, and where."""


def check_loops(findings: Findings, table: PolicyTable) -> None:
    """Each cycle is reported once, at the policy of it that stands first."""
    remedy = "let one of them end in reject or drop"
    _check_loop(findings, table, "on_down", _next_down, remedy)
    _check_loop(findings, table, "icmp", _next_icmp, remedy)
    _check_loop(findings, table, "via", _next_via, "let one of them leave by an interface")


def _next_down(policy: Policy) -> tuple[str | None, Place | None]:
    return policy.on_down, policy.on_down_place


def _next_icmp(policy: Policy) -> tuple[str | None, Place | None]:
    proxy = policy.proxy
    return (None, None) if proxy is None else (proxy.icmp, proxy.icmp_place)


def _next_via(policy: Policy) -> tuple[str | None, Place | None]:
    proxy = policy.proxy
    return (None, None) if proxy is None else (proxy.via, proxy.via_place)


def _check_loop(
    findings: Findings, table: PolicyTable, key: str, following: Next, remedy: str
) -> None:
    done: set[str] = set()
    for start in table.policies:
        chain: dict[str, Policy] = {}
        name: str | None = start
        while name in table.policies and name not in done and name not in chain:
            chain[name] = table.policies[name]
            name, _ = following(chain[name])
        if name in chain:
            names = list(chain)
            cycle = [chain[each] for each in names[names.index(name) :]]
            way = " → ".join([*(policy.name for policy in cycle), cycle[0].name])
            _, place = following(cycle[0])
            assert place is not None, "a cycle consists of keys that were written"
            message = f"{key} leads back to where it began: {way}"
            findings.error("policy-loop", place, message, remedy)
        done.update(chain)


def check_used(findings: Findings, table: PolicyTable) -> None:
    """Warn of policies that no rule reaches, not even by a key of another policy."""
    reached: set[str] = set()
    waiting = [*table.used, *findings.passed_over]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        policy = table.policies.get(name)
        if policy is not None:
            named = (following(policy)[0] for following in (_next_down, _next_icmp, _next_via))
            waiting += [table.meant(each) for each in named if each is not None]
    for name, key in table.names.items():
        if name not in reached and name not in BUILT_IN_POLICIES:
            findings.warning(
                "unused-policy",
                key,
                f"no rule uses the policy {quoted(name)}",
                "name it in a rule or as 'default', or remove it",
            )
