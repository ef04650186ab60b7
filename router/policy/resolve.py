"""Which policy a rule names, and which one applies while that is down.

Always true: the answer is a policy of the configuration that is built in or up, or `reject`;
traffic reaches another outbound only where an `on_down` names it.

Must not know: how it is found out that an interface is up.
"""

from __future__ import annotations

from collections.abc import Callable

from router.config.model import BUILT_IN, Config, PolicyType


def policy_of(config: Config, rule_index: int) -> str:
    """The policy that a rule names; for index 0 the default's."""
    return config.rules[rule_index - 1].policy if rule_index else config.default


def effective(config: Config, policy_name: str, is_up: Callable[[str], bool]) -> str:
    """The policy that applies now: the named one, or what `on_down` leads to.

    `is_up` is called for policies with an interface alone. A loop of `on_down`, which a checked
    configuration does not have, ends in `reject`.
    """
    seen = set()
    name = policy_name
    while name not in seen:
        seen.add(name)
        policy = config.policies.get(name)
        if policy is None:
            break
        if policy.type in BUILT_IN or is_up(name):
            return name
        name = policy.on_down or PolicyType.REJECT.value
    return PolicyType.REJECT.value


def carrying(
    config: Config, policy_name: str, is_up: Callable[[str], bool], *, is_icmp: bool
) -> str:
    """The policy that carries a packet for which another one is named: `effective`, or for ICMP, as
    long as that is a proxy, what its `icmp` leads to. A loop of these ends in `reject`."""
    name = effective(config, policy_name, is_up)
    seen = set()
    while is_icmp and (proxy := config.policies[name].proxy) is not None:
        if name in seen:
            return PolicyType.REJECT.value
        seen.add(name)
        name = effective(config, proxy.icmp, is_up)
    return name
