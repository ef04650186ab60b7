"""TCP in memory: what an application receives while its connection is dialled, and how the two
sockets of a connection are then relayed and closed together."""

from __future__ import annotations

import errno
from ipaddress import ip_address
from pathlib import Path

import pytest

from router.engine.reload.reevaluate import Reevaluated
from router.flows.tcp.flow import TRANSITORY
from router.outbound.base import Change
from router.outbound.socks5.failures import failure_of
from router.platform.base.tcp import ConnectFailure
from router.wire import offload
from router.wire.socks5 import ReplyCode
from tests.unit.engine.tcp.cases import (
    ALL_END,
    HOME,
    Worlds,
    answer_to,
    dialled,
    established,
    listener_of,
    segment,
    tcp_world,
)
from tests.unit.engine.tcp.memory import MemoryStream
from tests.unit.engine.world import PEERS, TUN_ADDRESSES, MemoryQueue, far
from tests.unit.wire.packets import INSIDE, IP, TCP, IPv6, decoded

BOTH = pytest.mark.parametrize("version", [4, 6])
HOST_UNREACHABLE = {4: (3, 1), 6: (1, 3)}
PROHIBITED = {4: (3, 13), 6: (1, 1)}
NO_ROUTE = {4: (3, 0), 6: (1, 0)}
RESET, SILENCE = "a reset", "silence"
OF_PROXIES = {
    ReplyCode.GENERAL_FAILURE: HOST_UNREACHABLE,
    ReplyCode.NOT_ALLOWED: PROHIBITED,
    ReplyCode.NETWORK_UNREACHABLE: NO_ROUTE,
    ReplyCode.HOST_UNREACHABLE: HOST_UNREACHABLE,
    ReplyCode.REFUSED: RESET,
    ReplyCode.TTL_EXPIRED: SILENCE,
    ReplyCode.COMMAND_NOT_SUPPORTED: PROHIBITED,
    ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED: NO_ROUTE,
    0x09: HOST_UNREACHABLE,
    0xFF: HOST_UNREACHABLE,
}
"""What an application gets for a reply of a proxy."""


@pytest.fixture
def worlds(tmp_path: Path) -> Worlds:
    return tcp_world(tmp_path)


@BOTH
def test_a_request_is_held_until_the_outbound_has_connected(worlds: Worlds, version: int) -> None:
    world, memory = worlds
    assert world.send(segment(version)) == []
    (sock,) = memory.dialled
    assert sock.address == (far(version, HOME), 80)
    memory.change(sock)
    assert world.tun.written == [], "it is writable or not, but not connected"
    sock.connected = True
    memory.change(sock)
    (request,) = [decoded(packet) for packet in world.tun.written]
    assert ip_address(request.src).packed == PEERS[version]
    assert ip_address(request.dst).packed == TUN_ADDRESSES[version]
    assert request[TCP].flags == "S"
    assert request[TCP].seq == 100


@BOTH
def test_a_reset_is_passed_on_as_one(worlds: Worlds, version: int) -> None:
    world, memory = worlds
    world.send(segment(version))
    (sock,) = memory.dialled
    sock.why = ConnectFailure(errno.ECONNREFUSED)
    memory.change(sock)
    (answer,) = [decoded(packet) for packet in world.tun.written]
    assert (answer.src, answer.dst) == (far(version, HOME), INSIDE[version])
    assert answer[TCP].flags == "RA"
    assert answer[TCP].ack == 101
    assert sock.closed
    assert (len(world.carriers.streams), memory.watched) == (0, 0)


@BOTH
def test_an_icmp_error_is_passed_on_with_its_sender(worlds: Worlds, version: int) -> None:
    world, memory = worlds
    world.send(segment(version))
    (sock,) = memory.dialled
    offender = "203.0.113.1" if version == 4 else "2001:db8:113::1"
    error = (*HOST_UNREACHABLE[version], 0)
    sock.why = ConnectFailure(errno.EHOSTUNREACH, error, ip_address(offender).packed)
    memory.change(sock)
    (answer,) = [decoded(packet) for packet in world.tun.written]
    assert answer.src == offender
    assert tuple(bytes(answer.payload)[:2]) == HOST_UNREACHABLE[version]
    assert sock.closed


@pytest.mark.parametrize("code", OF_PROXIES)
@BOTH
def test_the_code_of_a_proxy_becomes_what_it_means(worlds: Worlds, version: int, code: int) -> None:
    world, memory = worlds
    world.send(segment(version))
    (sock,) = memory.dialled
    sock.why = failure_of(code)
    memory.change(sock)
    expected = OF_PROXIES[code]
    answers = [decoded(packet) for packet in world.tun.written]
    if expected == SILENCE:
        assert answers == []
    elif expected == RESET:
        assert [answer[TCP].flags for answer in answers] == ["RA"]
    else:
        assert isinstance(expected, dict)
        assert [tuple(bytes(answer.payload)[:2]) for answer in answers] == [expected[version]]


@BOTH
def test_a_timeout_sends_nothing_to_the_application(worlds: Worlds, version: int) -> None:
    world, memory = worlds
    world.send(segment(version))
    (sock,) = memory.dialled
    sock.why = ConnectFailure(errno.ETIMEDOUT)
    memory.change(sock)
    assert world.tun.written == []
    assert world.drops == {"connect-failed": 1}


@BOTH
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOBUFS, errno.ENOMEM])
def test_exhausted_resources_refuse_a_request_that_may_be_repeated(
    worlds: Worlds, version: int, code: int
) -> None:
    world, memory = worlds
    memory.raises = OSError(code, "")
    (answer,) = world.send(segment(version))
    assert tuple(bytes(decoded(answer).payload)[:2]) == PROHIBITED[version]
    assert world.drops == {"table-full": 1}
    memory.raises = None
    assert world.send(segment(version)) == []
    assert len(memory.dialled) == 1


@BOTH
def test_a_full_table_refuses_the_new_and_leaves_the_old(tmp_path: Path, version: int) -> None:
    world, memory = tcp_world(tmp_path, most=2)
    for sport in (4000, 4001):
        assert world.send(segment(version, sport=sport)) == []
    (answer,) = world.send(segment(version, sport=4002))
    assert tuple(bytes(decoded(answer).payload)[:2]) == PROHIBITED[version]
    assert [sock.closed for sock in memory.dialled] == [False, False]


@BOTH
def test_a_repeated_request_is_the_same_dial_and_a_reset_ends_it(
    worlds: Worlds, version: int
) -> None:
    world, memory = worlds
    for _ in range(3):
        assert world.send(segment(version)) == []
    (sock,) = memory.dialled
    assert world.send(segment(version, "R", seq=101)) == []
    assert sock.closed
    assert memory.watched == 0


@BOTH
def test_an_abandoned_dial_ends(worlds: Worlds, version: int) -> None:
    world, memory = worlds
    world.send(segment(version), now=1.0)
    world.forwarder.expire(now=60.0)
    assert memory.dialled[0].closed
    assert memory.watched == 0


@BOTH
def test_a_segment_of_no_connection_is_reset(worlds: Worlds, version: int) -> None:
    world, memory = worlds
    (answer,) = world.send(segment(version, "A"))
    assert decoded(answer)[TCP].flags == "R"
    assert not memory.dialled
    assert world.drops == {"no-connection": 1}


@BOTH
def test_a_connection_without_a_dial_is_not_accepted(worlds: Worlds, version: int) -> None:
    _, memory = worlds
    peer = str(ip_address(PEERS[version]))
    listener = next(each for each in memory.listeners if len(each.name) == (6, 18)[version == 6])
    unexpected = memory.connect(listener, (peer, 40000))
    assert (unexpected.resets, unexpected.closed) == (True, True)


@BOTH
@pytest.mark.parametrize("failures", [0, 1], ids=["accepted", "turned-away"])
def test_a_connection_without_an_address_is_closed(
    worlds: Worlds, version: int, failures: int
) -> None:
    _, memory = worlds
    listener = next(each for each in memory.listeners if len(each.name) == (6, 18)[version == 6])
    listener.failures += [OSError(errno.EMFILE, "")] * failures
    ended = memory.connect(listener, None)
    assert ended.closed
    assert listener.waiting == []


@BOTH
def test_a_dialled_connection_is_accepted_once(worlds: Worlds, version: int) -> None:
    _, (request,) = dialled(worlds, version)
    memory = worlds[1]
    listener = next(
        each
        for each in memory.listeners
        if each.name == ip_address(request.dst).packed + request[TCP].dport.to_bytes(2, "big")
    )
    alias = (request.src, request[TCP].sport)
    assert not memory.connect(listener, alias).closed
    assert memory.connect(listener, alias).closed


@BOTH
def test_bytes_go_both_ways_and_each_end_by_itself(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version)
    memory = worlds[1]
    for source, sink in ((inner, outer), (outer, inner)):
        source.there.send(b"hello")
        memory.change(source)
        assert sink.there.recv(100) == b"hello"
    inner.there.shutdown(1)
    memory.change(inner)
    assert outer.there.recv(100) == b""
    outer.there.send(b"still here")
    memory.change(outer)
    assert inner.there.recv(100) == b"still here"
    outer.there.shutdown(1)
    memory.change(outer)
    assert inner.there.recv(100) == b""
    assert (inner.closed, outer.closed) == (True, True)
    assert (inner.resets, outer.resets) == (False, False)
    assert memory.watched == 0


@BOTH
def test_when_the_router_stops_both_ends_are_reset(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version)
    worlds[0].carriers.streams.close()
    assert (inner.resets, outer.resets) == (True, True)
    assert (inner.closed, outer.closed) == (True, True)
    assert worlds[1].watched == 0


@BOTH
def test_a_dial_whose_own_address_is_gone_begins_again(
    worlds: Worlds, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next request, although the outbound still reaches that family."""
    world, memory = worlds
    home = world.outbound("home")
    world.send(segment(version))
    monkeypatch.setattr(home, "has_lost", lambda _: True)
    world.carriers.streams.forget(Change(home, frozenset(), differs=False))
    (first,) = memory.dialled
    assert first.closed
    world.send(segment(version))
    assert len(memory.dialled) == 2


@BOTH
@pytest.mark.parametrize("end", ["stop", "lost outbound", "reload"])
def test_one_that_was_not_accepted_yet_is_reset_at_both_ends(
    worlds: Worlds, version: int, end: str
) -> None:
    """Our kernel has connected it, so the application may be waiting for what the server says."""
    world, memory = worlds
    outer, (request,) = dialled(worlds, version)
    inner = memory.connect_unseen(listener_of(memory, request), (request.src, request[TCP].sport))
    streams, home = world.carriers.streams, world.outbound("home")
    match end:
        case "stop":
            streams.close()
        case "lost outbound":
            home.own = {}
            streams.forget(Change(home, frozenset({version})))
        case "reload":
            assert streams.reevaluate(ALL_END) == Reevaluated(ended=1)
    assert (inner.resets, outer.resets) == (True, True)
    assert (inner.closed, outer.closed) == (True, True)
    if end != "stop":
        (reset,) = world.send(answer_to(request, "R"))
        assert decoded(reset).dst == INSIDE[version], "what our kernel sends then gets through"


@BOTH
def test_one_that_was_not_accepted_in_time_goes_on(worlds: Worlds, version: int) -> None:
    """As after a halt of the router: our kernel has connected it, so it is established."""
    world, memory = worlds
    outer, (request,) = dialled(worlds, version)
    inner = memory.connect_unseen(listener_of(memory, request), (request.src, request[TCP].sport))
    world.forwarder.expire(now=TRANSITORY + 10)
    assert (inner.closed, outer.closed) == (False, False)
    inner.there.send(b"question")
    memory.change(inner)
    assert outer.there.recv(100) == b"question"


@BOTH
@pytest.mark.parametrize("queue", ["of this machine", "of what is forwarded"])
def test_what_waits_in_the_tun_when_the_router_stops_is_carried(
    worlds: Worlds, version: int, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be what makes our kernel connect: the acknowledgement of an application."""
    world, memory = worlds
    outer, (request,) = dialled(worlds, version)
    listener, address = listener_of(memory, request), (request.src, request[TCP].sport)
    inner: list[MemoryStream] = []
    accept = listener.accept

    def accept_if_acknowledged() -> tuple[MemoryStream, tuple[str, int] | None]:
        if len(world.tun.written) == 2 and not inner:
            inner.append(memory.connect_unseen(listener, address))
        return accept()

    monkeypatch.setattr(listener, "accept", accept_if_acknowledged)
    waiting: MemoryQueue = world.tun
    if queue == "of what is forwarded":
        waiting = world.tun.forwarded = MemoryQueue(world.tun.frame)
    waiting.incoming = [offload.NOTHING_LEFT + segment(version, "A", seq=101)]
    world.carriers.streams.close()
    assert outer.resets
    assert [(each.resets, each.closed) for each in inner] == [(True, True)]


@BOTH
def test_a_request_behind_a_reset_is_dialled_for(worlds: Worlds, version: int) -> None:
    """Both are read before the loop reports that the connection was reset."""
    outer, inner = established(worlds, version)
    world, memory = worlds
    inner.has_ended = True
    reset, request = segment(version, "R", seq=101), segment(version, seq=7000)
    (passed,) = world.send_together([reset, request])
    assert decoded(passed)[TCP].flags == "R"
    assert len(memory.dialled) == 2
    assert len(world.carriers.streams) == 1
    inner.there.send(b"sent before")
    inner.there.shutdown(1)
    memory.change(inner)
    assert outer.there.recv(100) == b"sent before"
    outer.there.shutdown(1)
    memory.change(outer)
    assert (inner.closed, outer.closed) == (True, True)
    assert (len(world.carriers.streams), memory.watched) == (1, 1), "the new one, and its socket"


@BOTH
def test_a_request_within_a_connection_is_left_to_the_kernel(worlds: Worlds, version: int) -> None:
    """It answers by RFC 5961; so it does for a repetition of the connection's own request."""
    established(worlds, version)
    world, memory = worlds
    for sequence in (100, 7000):
        (passed,) = world.send(segment(version, seq=sequence))
        assert ip_address(decoded(passed).dst).packed == TUN_ADDRESSES[version]
    assert len(memory.dialled) == 1


@BOTH
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
def test_one_that_cannot_be_kept_is_reset_at_both_ends(
    worlds: Worlds, version: int, code: int
) -> None:
    world, memory = worlds
    outer, (request,) = dialled(worlds, version)
    listener = listener_of(memory, request)
    listener.failures.append(OSError(code, ""))
    inner = memory.connect(listener, (request.src, request[TCP].sport))
    for sock in (inner, outer):
        assert sock.closed
        assert sock.resets
    assert world.drops == {"table-full": 1}
    assert (len(world.carriers.streams), memory.later) == (0, [])


@BOTH
def test_a_listener_pauses_when_accept_fails(worlds: Worlds, version: int) -> None:
    memory = worlds[1]
    _, (request,) = dialled(worlds, version)
    listener = listener_of(memory, request)
    listener.failures += [OSError(errno.ENFILE, "")] * 2
    inner = memory.connect(listener, (request.src, request[TCP].sport))
    memory.look_at(listener)
    assert len(listener.waiting) == 1, "it is not polled for a while"
    (again,) = memory.later
    again()
    memory.look_at(listener)
    assert listener.waiting == []
    inner.there.send(b"question")
    memory.change(inner)
    assert memory.dialled[-1].there.recv(100) == b"question"


@BOTH
def test_descriptors_are_returned_after_every_end_of_a_dial(tmp_path: Path, version: int) -> None:
    """Room for one connection, again and again."""
    worlds = tcp_world(tmp_path, most=1)
    world, memory = worlds
    for failed in (ConnectFailure(errno.ECONNREFUSED), ConnectFailure(errno.ETIMEDOUT)):
        world.send(segment(version))
        memory.dialled[-1].why = failed
        memory.change(memory.dialled[-1])
    memory.raises = OSError(errno.ENOBUFS, "")
    world.send(segment(version))
    memory.raises = None
    outer, inner = established(worlds, version)
    assert len(world.send(segment(version, sport=4001))) == 1, "no room for two"
    inner.there.close()
    outer.there.close()
    memory.change(inner)
    memory.change(outer)
    assert world.send(segment(version, sport=4001)) == []
    assert world.drops == {"connect-failed": 2, "table-full": 2}


@BOTH
def test_a_request_over_which_the_outbound_goes_down_is_decided_anew(
    worlds: Worlds, version: int
) -> None:
    world, memory = worlds
    world.send(segment(version))
    (sock,) = memory.dialled
    world.outbound("home").own.clear()
    sock.why = ConnectFailure(errno.ETIMEDOUT)
    memory.change(sock)
    (answer,) = [decoded(packet) for packet in world.tun.written]
    assert answer[TCP].flags == "RA", "by on_down, which is reject"
    assert sock.closed
    assert len(world.carriers.streams) == 0


@BOTH
@pytest.mark.parametrize("together", [True, False], ids=["as a frame", "as a packet"])
def test_the_outer_connection_follows_the_traffic_class(
    worlds: Worlds, version: int, together: bool
) -> None:
    """Set once when it changes; the bits of ECN are each connection's own."""
    world, _ = worlds
    outer, _ = established(worlds, version)
    for traffic_class in (0, 2, 0x12, 0x10, 0xB9, 0xB9, 0x1C, 0):
        packet = segment(version, "A", payload=b"x", traffic_class=traffic_class)
        world.send_together([packet]) if together else world.send(packet)
    assert outer.traffic_classes == [0x12, 0xB9, 0x1C, 0]


@BOTH
def test_the_source_port_is_asked_of_the_outbound(worlds: Worlds, version: int) -> None:
    dialled(worlds, version, sport=4321)
    assert worlds[1].requests[-1].source_port == 4321


@BOTH
def test_a_request_that_our_kernel_never_answers_is_refused(worlds: Worlds, version: int) -> None:
    """This machine's firewall has dropped it. The second repetition shows it."""
    world, _ = worlds
    outer, _ = dialled(worlds, version)
    assert world.send_together([]) == [], "nor is there an answer in the TUN"
    (_,) = world.send_together([segment(version)])
    error, _ = world.send_together([segment(version)])
    message = bytes(decoded(error).payload)
    assert (message[0], message[1]) == ((3, 13) if version == 4 else (1, 1))
    assert outer.closed
    assert world.drops == {"refused-by-host": 1}


@BOTH
def test_repetitions_that_wait_in_front_of_the_answer_show_nothing(
    worlds: Worlds, version: int
) -> None:
    """A router that is behind with its work reads them before what our kernel has answered."""
    world, _ = worlds
    outer, (request,) = dialled(worlds, version)
    header = IP if version == 4 else IPv6
    answer = TCP(sport=request[TCP].dport, dport=request[TCP].sport, flags="SA")
    *_, delivered = world.send_together(
        [*[segment(version)] * 5, bytes(header(src=request.dst, dst=request.src) / answer)]
    )
    assert decoded(delivered)[TCP].flags == "SA"
    assert not outer.closed
    assert world.drops == {}


@BOTH
def test_a_request_that_our_kernel_answers_may_be_repeated(worlds: Worlds, version: int) -> None:
    """The answers do not reach an application on the LAN."""
    world, _ = worlds
    outer, (request,) = dialled(worlds, version)
    for _ in range(5):
        world.send_together([segment(version)])
        answer = TCP(sport=request[TCP].dport, dport=request[TCP].sport, flags="SA")
        header = IP if version == 4 else IPv6
        (delivered,) = world.send_together(
            [bytes(header(src=request.dst, dst=request.src) / answer)]
        )
        assert decoded(delivered)[TCP].dport == 4000
    assert not outer.closed
    assert world.drops == {}
