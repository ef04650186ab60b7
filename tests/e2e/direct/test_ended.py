"""Flows that began directly and are decided on otherwise while they last, by a reload or by an
outbound that is lost: their program is told at its next packet, and none arrives by the old way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.e2e.direct.ends import connection, datagrams, end, is_direct
from tests.e2e.direct.uploads import wait_until_forwarded
from tests.e2e.status import state_of
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import HEAD, Tunrouter, rules, running
from tests.e2e.wait import wait_until

HOST = 1
PROHIBITED = {4: OSError, 6: PermissionError}
"""EHOSTUNREACH, EACCES."""
MOVED = ("home", "reject", "drop")


def by(policy: str, on_down: str = "reject") -> str:
    head = HEAD.replace("wg0}", f"wg0, on_down: {on_down}}}")
    return rules(*(f"{family.far(HOST)} -> {policy}" for family in FAMILIES), head=head)


@pytest.fixture(scope="module")
def started(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunrouter]:
    with running(bed.router, tmp_path_factory.mktemp("rules"), by("office")) as router:
        yield router


@pytest.fixture
def router(bed: Testbed, started: Tunrouter, family: Family) -> Tunrouter:
    """By whose rules the VPN carries the packets to HOST, directly."""
    started.reload(by("office"))
    wait_until(partial(is_direct, bed, family, family.far(HOST)), "the direct path")
    return started


@pytest.mark.parametrize("moves_much", [False, True], ids=["little", "much"])
@pytest.mark.parametrize("policy", MOVED)
def test_a_connection_by_another_policy_is_reset(
    bed: Testbed, family: Family, router: Tunrouter, policy: str, moves_much: bool
) -> None:
    """Whichever end is the first to send something, and the other end when it sends."""
    with ExitStack() as stack:
        pairs = [stack.enter_context(connection(bed, family, family.far(HOST))) for _ in range(2)]
        for pair in pairs if moves_much else ():
            wait_until_forwarded(bed, pair)
        assert router.reload(by(policy)).startswith("reloaded")
        asked, asking = pairs
        asked.server.sendall(b"?")
        assert asked.client.recv(1) == b"?"
        asking.client.sendall(b"?")
        for pair in pairs:
            with pytest.raises(ConnectionResetError):
                pair.client.recv(1)
            pair.server.sendall(b"!")
            with pytest.raises(ConnectionResetError):
                pair.server.recv(1)


def test_datagrams_by_another_policy_are_refused_once(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    with datagrams(bed, family, family.far(HOST)) as pair:
        pair.client.send(b"before")
        assert pair.server.recvfrom(100) == (b"before", pair.client.getsockname())
        assert router.reload(by("home")).startswith("reloaded")
        pair.client.send(b"after")
        with pytest.raises(PROHIBITED[family.version]):
            pair.client.recv(1)
        pair.client.send(b"again")
        data, peer = pair.server.recvfrom(100)
        assert (data, peer[0]) == (b"again", family.eth0)
        pair.server.sendto(b"answer", peer)
        assert pair.client.recv(100) == b"answer"


ON_DOWN = pytest.mark.parametrize("on_down", ["reject", "home"])


def _lose(bed: Testbed) -> None:
    bed.router.ip("link set wg0 down")
    wait_until(lambda: state_of(bed.router, "office") == "down", "it to be noticed")


def _return(bed: Testbed) -> None:
    bed.router.ip("link set wg0 up", f"addr add {V6.wg0}/64 dev wg0 nodad")
    wait_until(lambda: state_of(bed.router, "office") == "up", "it to be used again")


def _is_from(bed: Testbed, family: Family, source: str) -> bool:
    """Whether a connection to HOST leaves directly from an address."""
    try:
        with connection(bed, family, family.far(HOST)) as pair:
            return end(pair.client.getsockname())[0] == source == end(pair.server.getpeername())[0]
    except OSError:
        return False


@pytest.mark.parametrize("moves_much", [False, True], ids=["little", "much"])
@ON_DOWN
def test_a_connection_by_an_outbound_that_is_down_is_reset(
    bed: Testbed, started: Tunrouter, on_down: str, moves_much: bool
) -> None:
    """While its address is there; those of IPv6 go with the link."""
    started.reload(by("office", on_down))
    wait_until(partial(_is_from, bed, V4, V4.wg0), "the direct path")
    with connection(bed, V4, V4.far(HOST)) as pair:
        if moves_much:
            wait_until_forwarded(bed, pair)
        try:
            _lose(bed)
            pair.client.sendall(b"after")
            with pytest.raises(ConnectionResetError):
                pair.client.recv(1)
        finally:
            _return(bed)


@pytest.mark.parametrize("moves_much", [False, True], ids=["little", "much"])
def test_a_connection_by_what_takes_the_place_of_an_outbound_is_reset(
    bed: Testbed, started: Tunrouter, moves_much: bool
) -> None:
    """`on_down` names it; it is reset when the outbound is up again."""
    started.reload(by("office", "home"))
    with ExitStack() as stack:
        _lose(bed)
        pairs = []
        try:
            for family in FAMILIES:
                wait_until(partial(_is_from, bed, family, family.eth0), "the direct path of home")
                pairs.append(stack.enter_context(connection(bed, family, family.far(HOST))))
            for pair in pairs if moves_much else ():
                wait_until_forwarded(bed, pair)
        finally:
            _return(bed)
        for family, pair in zip(FAMILIES, pairs, strict=True):
            wait_until(partial(_is_from, bed, family, family.wg0), "the direct path of the VPN")
            pair.client.sendall(b"after")
            with pytest.raises(ConnectionResetError):
                pair.client.recv(1)
