"""Endpoints of the peers of the kernel's own WireGuard, by generic netlink (linux/wireguard.h), to
root alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from router.platform.endpoints import Read
from router.platform.endpoints import endpoint as as_endpoint
from router.policy.network import Endpoint


def tunnel_readers(names: Iterable[str]) -> Mapping[str, Read]:
    """What reads the endpoints of each tunnel."""
    return {name: partial(endpoints_of, name) for name in names}


def endpoints_of(name: str) -> Iterator[Endpoint]:
    """Raises OSError."""
    from pyroute2 import WireGuard  # noqa: PLC0415 - takes 0.2 s, and few systems need it
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415 - likewise

    try:
        with WireGuard() as wireguard:
            messages = list(wireguard.info(name))
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error
    for message in messages:
        for peer in message.get_attr("WGDEVICE_A_PEERS") or ():
            endpoint = peer.get_attr("WGPEER_A_ENDPOINT")
            if endpoint:
                yield as_endpoint(name, endpoint["addr"], int(endpoint["port"]))
