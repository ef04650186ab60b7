"""Whether proxies can be reached now: their names resolved, a TCP connection opened and closed, by
the way that their policies name.

Must not know: what a proxy that cannot be reached means for a policy.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address

from router.config.model import Config, Policy, Proxy
from router.platform.bound import bind_to_interface
from router.platform.families import FAMILY
from router.platform.reason import reason
from router.policy.interfaces import UsableInterfaces
from router.policy.network import Interface, ProxyFault
from router.wire.socks5 import SUCCEEDED, Command, Dialogue, Reply, request

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
            addresses = addresses_of(proxy)
        except OSError:
            return policy
        return replace(policy, proxy=replace(proxy, resolved=addresses))

    return replace(config, policies={n: resolved(each) for n, each in config.policies.items()})


def proxy_faults(
    config: Config, interfaces: Mapping[str, UsableInterfaces]
) -> dict[Proxy, ProxyFault]:
    """What is wrong with each proxy of a policy at present; those that can be reached, and those
    whose way is down, are left out.

    interfaces: those of the policies that have one.
    """
    every = {policy.proxy for policy in config.policies.values() if policy.proxy is not None}
    if not every:
        return {}
    ways = _Ways(config, interfaces)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = zip(every, pool.map(partial(_fault, ways), every), strict=True)
        return {proxy: fault for proxy, fault in found if fault is not None}


class _WayIsDown(Exception):
    """There is no way to a proxy at present."""


class _Ways:
    """Connections to proxies, by what their policies name."""

    def __init__(self, config: Config, interfaces: Mapping[str, UsableInterfaces]) -> None:
        self._config = config
        self._interfaces = interfaces

    def connect(self, proxy: Proxy, address: bytes) -> socket.socket:
        """To a proxy at one of its addresses. Raises OSError, _WayIsDown."""
        if proxy.via is None:
            return self._connect(address, proxy.port, None)
        via = self._config.policies[proxy.via]
        if via.proxy is not None:
            return self._by_proxy(via.name, via.proxy, address, proxy.port)
        usable = self._interfaces.get(via.name, {})
        interface = usable.get(4 if len(address) == 4 else 6)
        if not usable:
            raise _WayIsDown
        if interface is None:
            raise OSError(errno.ENETUNREACH, f"'{via.name}' has no address of its family")
        return self._connect(address, proxy.port, interface)

    def _connect(self, address: bytes, port: int, interface: Interface | None) -> socket.socket:
        version = 4 if len(address) == 4 else 6
        sock = socket.socket(FAMILY[version], socket.SOCK_STREAM)
        try:
            sock.settimeout(PATIENCE)
            if interface is not None:
                bind_to_interface(sock, version, interface)
            sock.connect((str(ip_address(address)), port))
        except OSError:
            sock.close()
            raise
        return sock

    def _by_proxy(self, name: str, proxy: Proxy, address: bytes, port: int) -> socket.socket:
        """Through another proxy."""
        for own in addresses_of(proxy):
            with suppress(OSError):
                sock = self.connect(proxy, own)
                break
        else:
            raise OSError(errno.ENETUNREACH, f"'{name}', by which it is reached, is not")
        dialogue = Dialogue(proxy.credentials, request(Command.CONNECT, address, port))
        try:
            sock.send(dialogue.take_output())
            while dialogue.wanted:
                data = sock.recv(dialogue.wanted)
                dialogue.feed(data) if data else dialogue.end()
                sock.send(dialogue.take_output())
        except OSError:
            sock.close()
            raise
        outcome = dialogue.outcome
        if isinstance(outcome, Reply) and outcome.code == SUCCEEDED:
            return sock
        sock.close()
        said = f"answer {outcome.code}" if isinstance(outcome, Reply) else "no reply to a request"
        raise OSError(errno.EHOSTUNREACH, f"'{name}' cannot connect to it: {said}")


def addresses_of(proxy: Proxy) -> tuple[bytes, ...]:
    """Of the proxy, or those that its name has now. Raises OSError."""
    if proxy.address is not None:
        return (proxy.address.packed,)
    try:
        found = socket.getaddrinfo(proxy.host, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(errno.EINVAL, "it is no name") from None
    texts = dict.fromkeys(str(each[4][0]) for each in found)
    return tuple(ip_address(text).packed for text in texts if "%" not in text)


def _fault(ways: _Ways, proxy: Proxy) -> ProxyFault | None:
    try:
        addresses = addresses_of(proxy)
    except OSError as error:
        return ProxyFault(reason(error), is_of_name=True)
    why = "its name has no address that can be used"
    for address in addresses:
        try:
            ways.connect(proxy, address).close()
        except _WayIsDown:
            return None
        except TimeoutError:
            why = "no answer"
        except OSError as error:
            why = reason(error)
        else:
            return None
    return ProxyFault(why, is_of_name=False)
