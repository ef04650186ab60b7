"""Proxies: names that do not resolve, proxies that cannot be reached now or lead through a policy
that is down, that have refused IPv6; what becomes of ICMP, which no proxy carries."""

from __future__ import annotations

from collections.abc import Iterator

from router.config.model import Place, Policy, Proxy
from router.config.problems import Problem, Severity
from router.policy.findings.outbounds import named_policies
from router.policy.findings.situation import Situation, place_of_prefix
from router.policy.findings.wording import prefixes
from router.policy.prefixes import unpack


def find(situation: Situation) -> Iterator[Problem]:
    """For each policy in the order of the file, apart from unused ones, which config reports."""
    for policy, proxy in _used(situation):
        until = f"until it is there, traffic of '{policy.name}' goes to '{policy.on_down}'"
        fault = situation.network.proxy_faults.get(proxy)
        if proxy.via is not None and not situation.is_up(policy.name):
            yield Problem(
                "proxy-way-down",
                Severity.WARNING,
                proxy.via_place,
                f"'{proxy.via}', by which the proxy is reached, is down: '{policy.name}' would "
                "start down",
                until,
            )
        elif fault is not None and fault.is_of_name:
            yield Problem(
                "proxy-unresolved",
                Severity.WARNING,
                proxy.place,
                f"the name {proxy.host} cannot be resolved now: {fault.why}",
                until,
            )
        elif fault is not None:
            yield Problem(
                "proxy-unreachable",
                Severity.WARNING,
                proxy.place,
                f"the proxy {proxy} cannot be reached now: {fault.why}",
                until,
            )
        if str(proxy) in situation.network.ipv6_refused:
            yield from _refused(situation, policy, proxy)


def _refused(situation: Situation, policy: Policy, proxy: Proxy) -> Iterator[Problem]:
    """IPv6 is sent to a proxy that has refused it."""
    users = [
        (rule, packed)
        for rule in situation.config.rules
        if rule.policy == policy.name
        for packed in rule.packed(6)
    ]
    place: Place | None
    if users:
        found = [(6, *unpack(packed)) for _, packed in users[:3]]
        place = place_of_prefix(users[0][0], *found[0])
        what = prefixes(found, len(users))
    elif situation.config.default == policy.name:
        place, what = situation.config.default_place, "the IPv6 that the default sends to it"
    else:
        return
    yield Problem(
        "proxy-refuses-ipv6",
        Severity.WARNING,
        place,
        f"the proxy {proxy} has refused IPv6 destinations of the router that runs: '{policy.name}' "
        f"can't carry {what}",
        "send IPv6 to another policy, or to 'reject', which refuses it at once",
    )


def notes(situation: Situation) -> Iterator[str]:
    """Where ICMP goes."""
    for policy, proxy in _used(situation):
        yield f"ICMP of '{policy.name}' goes to '{proxy.icmp}': SOCKS5 carries none"


def _used(situation: Situation) -> Iterator[tuple[Policy, Proxy]]:
    named = named_policies(situation.config)
    for policy in situation.config.policies.values():
        if policy.proxy is not None and policy.name in named:
            yield policy, policy.proxy
