"""The default routes that the kernel takes for packets, and no others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from router.platform.linux import kernel_routes
from router.platform.linux.kernel_routes import default_routes, read_routes
from router.platform.linux.netlink.constants import (
    RTA_OIF,
    RTA_PRIORITY,
    RTM_F_CLONED,
    RTN_UNICAST,
    RTNH_F_DEAD,
    RTPROT_TUNROUTER,
)
from router.policy.interfaces import default_holder
from router.policy.network import TABLE_MAIN

KERNEL = 2
NAMES = {1: "eth0", 2: "eth1", 3: "tun11", 4: "eth2"}
ENTRIES = (
    # index, metric, protocol, flags
    (1, 100, KERNEL, RTNH_F_DEAD),
    (2, 50, KERNEL, RTM_F_CLONED),
    (3, 0, RTPROT_TUNROUTER, 0),
    (4, 600, KERNEL, 0),
)


def word(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)


@pytest.fixture(autouse=True)
def _kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def dump(*_: object) -> Iterator[tuple[Any, dict[int, bytes]]]:
        for index, metric, protocol, flags in ENTRIES:
            fields = (2, 0, 0, 0, TABLE_MAIN, protocol, 0, RTN_UNICAST, flags)
            yield fields, {RTA_OIF: word(index), RTA_PRIORITY: word(metric)}

    monkeypatch.setattr(kernel_routes, "dump", dump)
    monkeypatch.setattr(kernel_routes, "rtnetlink", nullcontext)


def test_dead_and_cached_ones_are_left_out() -> None:
    assert [(route.interface, route.metric) for route in default_routes(4)] == [(4, 600)]


def test_check_and_the_running_router_find_the_same_holder() -> None:
    netlink: Any = None
    routes = list(read_routes(netlink, NAMES))
    assert default_holder(routes, set(NAMES.values()), 4) == "eth2"
