"""A server whose late answer finds the application's port closed gets the error, as by the kernel.

RFC 5508 REQ-5 and RFC 4787 REQ-12: the error of the application's host goes back to the server,
with a quote of its datagram, and ends no mapping.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.netns import Namespace
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import Tunrouter
from tests.e2e.udp import (
    BARE,
    CLIENT,
    HOME,
    PATHS,
    RULES,
    exchange,
    neighbour,
)

pytestmark = [
    WITH_AND_WITHOUT_OFFLOADS,
    pytest.mark.rules(RULES),
    pytest.mark.usefixtures("udp_servers"),
]

LATE = 9000
"""The port of the server that answers late."""
HOST = 1
"""Not the first of a network: by a route without a gateway Linux sends no ICMPv6 error to that one,
as it takes it for the anycast address of routers (RFC 4291, section 2.6.1)."""
OTHER_SOURCE = 9
"""Of the home network's addresses, one that the router has too and prefers for a while."""


def error_of(bed: Testbed, sender: Namespace, address: str, size: int, report: bool) -> Any:
    """The error of a server at `address` that answers an application that has ended."""
    wanted = {"address": address, "port": 0, "source": address, "source_port": LATE, "late": True}
    wanted |= {"sends": [size], "report": report}
    server = bed.far.start(sys.executable, CLIENT, json.dumps(wanted))
    try:
        server.wait_for_output("waiting")
        exchange(sender, address, LATE, expect=0)
        server.wait_for_output("received")
        os.kill(server.pid, signal.SIGUSR1)
        assert server.wait() == 0, server.report()
        (found,) = json.loads(server.stdout.splitlines()[-1])["found"]
    finally:
        server.close()
    return found


DIRECT = pytest.mark.parametrize(
    ("host", "through", "bare"), [("client", HOME, BARE), ("router", HOME, BARE)]
)


@DIRECT
def test_a_late_answer_in_fragments_is_refused(
    bed: Testbed, sender: Namespace, family: Family, through: int, bare: int
) -> None:
    """The quote holds the first few hundred bytes."""
    test_a_late_answer_is_refused(bed, sender, family, through, bare, 3000)


@PATHS
@pytest.mark.parametrize("size", [0, 1200])
def test_a_late_answer_is_refused(
    bed: Testbed, sender: Namespace, family: Family, through: int, bare: int, size: int
) -> None:
    kernel = error_of(bed, sender, family.far(bare + HOST), size, report=True)
    ours = error_of(bed, sender, family.far(through + HOST), size, report=True)
    own = family.eth0 if through == HOME else family.wg0
    assert ours["offender"] == ours["destination"][0] == own
    for found in (kernel, ours):
        assert isinstance(found, dict), found
        del found["offender"], found["destination"]
    assert ours == kernel
    assert ours["error"] == "ECONNREFUSED"


@PATHS
def test_a_connected_server_gets_the_same_errno(
    bed: Testbed, sender: Namespace, family: Family, through: int, bare: int
) -> None:
    for number in (through, bare):
        assert error_of(bed, sender, family.far(number + HOST), 5, report=False) == "ECONNREFUSED"


@contextmanager
def another_source(bed: Testbed, family: Family) -> Iterator[str]:
    """The router's packets to elsewhere come from another address of eth0 than its first."""
    address = neighbour(family, OTHER_SOURCE)
    default = f"default via {family.gateway} dev eth0"
    bits = 24 if family.version == 4 else 64
    nodad = "" if family.version == 4 else "nodad"
    bed.router.ip(f"addr add {address}/{bits} dev eth0 {nodad}")
    bed.router.ip(f"route replace {default} src {address}")
    try:
        yield address
    finally:
        bed.router.ip(f"route replace {default}")
        bed.router.ip(f"addr del {address}/{bits} dev eth0")


def test_the_error_comes_from_the_address_that_was_answered(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """A host with several: the system chooses, and the server has answered that one."""
    with another_source(bed, family) as own:
        found = error_of(bed, bed.client, family.far(HOME + HOST), 5, report=True)
    assert isinstance(found, dict), found
    assert (found["error"], found["offender"], found["destination"][0]) == (
        "ECONNREFUSED",
        own,
        own,
    )
