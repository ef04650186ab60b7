"""Whether proxies can be reached now: their names resolved, a TCP connection opened and closed.

Must not know: SOCKS5, and what a proxy that cannot be reached means for a policy.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address

from router.config.model import Config, Policy, Proxy
from router.platform.reason import reason
from router.policy.network import ProxyFault

PATIENCE = 2.0
"""Seconds for the connection to one address."""
AT_ONCE = 16


def with_addresses(config: Config) -> Config:
    """The same with the addresses of proxies that have names: a router that runs may be allowed
    neither a thread nor what resolving needs."""

    def resolved(policy: Policy) -> Policy:
        proxy = policy.proxy
        if proxy is None or proxy.address is not None:
            return policy
        try:
            found = socket.getaddrinfo(proxy.host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return policy
        texts = dict.fromkeys(str(each[4][0]) for each in found)
        addresses = tuple(ip_address(text).packed for text in texts if "%" not in text)
        return replace(policy, proxy=replace(proxy, resolved=addresses))

    return replace(config, policies={n: resolved(each) for n, each in config.policies.items()})


def proxy_faults(proxies: Iterable[Proxy]) -> dict[Proxy, ProxyFault]:
    """What is wrong with each at present; those that can be reached are left out.

    One with a `via` is resolved and not connected to: the way to it is not the system's own.
    """
    every = list(dict.fromkeys(proxies))
    if not every:
        return {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = zip(every, pool.map(_fault, every), strict=True)
        return {proxy: fault for proxy, fault in found if fault is not None}


def _fault(proxy: Proxy) -> ProxyFault | None:
    try:
        addresses = socket.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is no name"
        return ProxyFault(why, is_of_name=True)
    why = ""
    for family, kind, protocol, _, address in addresses:
        if proxy.via is not None:
            return None
        with socket.socket(family, kind, protocol) as sock:
            sock.settimeout(PATIENCE)
            try:
                sock.connect(address)
            except TimeoutError:
                why = "no answer"
            except OSError as error:
                why = reason(error)
            else:
                return None
    return ProxyFault(why, is_of_name=False)
