"""Dumps contain the requested family and no other."""

from __future__ import annotations

import socket

import pytest

from router.platform.linux.netlink.constants import RTM_GETADDR
from router.platform.linux.netlink.dump import dump, rtnetlink
from router.platform.linux.netlink.messages import IFADDRMSG

AF_UNKNOWN = 12
"""DECnet, which was removed from Linux."""


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, AF_UNKNOWN])
def test_nothing_of_other_families_is_listed(family: int) -> None:
    """A kernel lists the addresses of all families when a request names one that it has not, as it
    is for IPv6 where it was started without."""
    with rtnetlink() as netlink:
        assert {fields[0] for fields, _ in dump(netlink, RTM_GETADDR, family, IFADDRMSG)} <= {
            family
        }
        everything = [*dump(netlink, RTM_GETADDR, socket.AF_UNSPEC, IFADDRMSG)]
    assert socket.AF_INET in {fields[0] for fields, _ in everything}
