"""The queues of the TUN: what LAN hosts send takes no room from this machine's own programs, and
nobody else can attach a queue."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from tests.e2e import sockets, udp
from tests.e2e.netns import Namespace
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import ROUTER, TUN, Tunrouter

pytestmark = [pytest.mark.rules(udp.RULES), pytest.mark.usefixtures("udp_servers")]

MORE_THAN_A_QUEUE = 6_000
ANOTHER_USER = 65534
ATTACH = f"""
import fcntl, os, struct
device = os.open("/dev/net/tun", os.O_RDWR)
os.setuid({ANOTHER_USER})
try:
    flags = 0x0001 | 0x1000 | 0x0100  # IFF_TUN, IFF_NO_PI, IFF_MULTI_QUEUE
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"{TUN}", flags))
except PermissionError:
    print("refused")
"""


def _fill_queue(namespace: Namespace, family: Family, host: int) -> None:
    with sockets.datagram(namespace, family) as sock:
        for _ in range(MORE_THAN_A_QUEUE):
            sock.sendto(b"flood", (family.far(host), udp.ECHO))


def test_own_packets_find_room_beside_a_flood_of_the_lan(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    """The router does not read meanwhile, so that the flood fills its queue on any machine."""
    pid = router.processes()[ROUTER]
    with sockets.datagram(bed.router, family) as own:
        own.connect((family.far(udp.HOME), udp.ECHO))
        udp.echo(own)
        dropped = bed.router.counter(TUN, "tx_dropped")
        os.kill(pid, signal.SIGSTOP)
        try:
            _fill_queue(bed.client, family, udp.HOME)
            assert bed.router.counter(TUN, "tx_dropped") > dropped
            own.send(b"own")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert own.recv(100) == b"own"


def test_a_flood_of_own_packets_leaves_room_for_the_lan(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    pid = router.processes()[ROUTER]
    with udp.echoing(bed, family, udp.HOME) as other:
        os.kill(pid, signal.SIGSTOP)
        try:
            _fill_queue(bed.router, family, udp.HOME)
            other.send(b"other")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert other.recv(100) == b"other"


@pytest.mark.usefixtures("router")
def test_another_user_cannot_attach_a_queue(bed: Testbed) -> None:
    assert bed.router.run(sys.executable, "-c", ATTACH).stdout == "refused\n"
