"""Proxies: names that do not resolve, proxies that cannot be reached now or lead through a policy
that is down; what becomes of ICMP, which no proxy carries."""

from __future__ import annotations

from collections.abc import Iterator

from router.config.model import Policy, Proxy
from router.config.problems import Problem, Severity
from router.policy.findings.outbounds import named_policies
from router.policy.findings.situation import Situation


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


def notes(situation: Situation) -> Iterator[str]:
    """Where ICMP goes."""
    for policy, proxy in _used(situation):
        yield f"ICMP of '{policy.name}' goes to '{proxy.icmp}': SOCKS5 carries none"


def _used(situation: Situation) -> Iterator[tuple[Policy, Proxy]]:
    named = named_policies(situation.config)
    for policy in situation.config.policies.values():
        if policy.proxy is not None and policy.name in named:
            yield policy, policy.proxy
