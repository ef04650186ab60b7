"""RFC 5508, NAT Behavioral Requirements for ICMP: one test for each requirement.

REQ-7 (hairpinning) has no case here: no outside host can reach an inside address, as there are no
external mappings to send to. REQ-9 and REQ-10 are tested by what is, and is not, forwarded.
"""

from __future__ import annotations

import pytest

from router.flows.icmp import IDLE
from router.platform.base.facts import NetworkPath
from router.wire import icmp, ip
from router.wire.icmp import Error
from tests.unit.engine.world import OWN, World, far, reply_to
from tests.unit.flows.nat.test_quoted import quoting
from tests.unit.wire.packets import ICMP, INSIDE, IP, Packet, decoded, echo_request

BOTH = pytest.mark.parametrize("version", [4, 6])
HOME, REJECT = 9, 3


def ping(version: int, host: int = HOME, identifier: int = 7, source: str | None = None) -> bytes:
    return echo_request(
        version, identifier=identifier, destination=far(version, host), source=source
    )


def sent(world: World, version: int) -> tuple[ip.Packet, int]:
    """The last query that was sent, and its outside identifier."""
    return world.sent("home", version)[-1]


def error_about_last(world: World, version: int, what: Error, cut: int = 200) -> bytes:
    request, outside_id = sent(world, version)
    left = echo_request(
        version,
        identifier=outside_id,
        source=OWN["eth0"][version == 6],
        destination=far(version, HOME),
    )
    assert request.destination == ip.parse(left).destination
    return quoting(version, left, what, cut, 1400)


def answer_to_last(world: World, version: int) -> bytes:
    request, outside_id = sent(world, version)
    return reply_to(request, outside_id, OWN["eth0"][version == 6])


@BOTH
def test_req_1_queries_pass_and_the_mapping_is_endpoint_independent(
    world: World, version: int
) -> None:
    world.send(ping(version, HOME))
    _, first = sent(world, version)
    world.send(ping(version, HOME + 1))
    _, second = sent(world, version)
    assert first == second
    assert len(world.answer("home", answer_to_last(world, version))) == 1


@BOTH
def test_req_1_every_query_with_an_identifier_passes(world: World, version: int) -> None:
    """Echo, timestamp, information, address mask and extended echo."""
    writer = ip.parse(ping(version))
    for kind in icmp.ANSWER_TO[version]:
        body = icmp.message(
            version,
            writer.source,
            writer.destination,
            bytes((kind, 0, 0, 0, 0x12, 0x34, 0, 1)) + bytes(12),
        )
        protocol = icmp.protocol_of(version)
        world.send(ip.build(writer.source, writer.destination, protocol, body))
    kinds = [icmp.message_type(query) for query, _ in world.sent("home", version)]
    assert kinds == list(icmp.ANSWER_TO[version])
    for (query, outside_id), answer in zip(
        world.sent("home", version), icmp.ANSWER_TO[version].values(), strict=True
    ):
        data = bytearray(reply_to(query, outside_id, OWN["eth0"][version == 6]))
        data[20 if version == 4 else 40] = answer
        assert len(world.answer("home", bytes(data))) == 1


@BOTH
def test_req_2_a_query_times_out_after_sixty_seconds(world: World, version: int) -> None:
    assert IDLE >= 60
    world.send(ping(version), now=0.0)
    answer = answer_to_last(world, version)
    world.forwarder.expire(IDLE - 0.001)
    assert len(world.answer("home", answer, now=IDLE - 0.001)) == 1


def test_req_3_an_error_with_a_wrong_icmp_checksum_is_dropped(world: World) -> None:
    world.send(ping(4))
    error = bytearray(error_about_last(world, 4, Error.HOST_UNREACHABLE))
    error[22] ^= 0x10
    assert world.answer("home", bytes(error)) == []
    assert world.drops == {"bad-checksum": 1}


def test_req_3_an_error_with_a_wrong_inner_header_checksum_is_dropped(world: World) -> None:
    world.send(ping(4))
    request, outside_id = sent(world, 4)
    left = bytearray(
        echo_request(4, identifier=outside_id, source=OWN["eth0"][0], destination=far(4, HOME))
    )
    left[10] ^= 0x10
    assert world.answer("home", quoting(4, bytes(left), Error.HOST_UNREACHABLE, 200)) == []
    assert world.drops == {"bad-checksum": 1}
    assert request.version == 4


def test_req_3_the_inner_transport_checksum_is_not_checked(world: World) -> None:
    world.send(ping(4))
    _, outside_id = sent(world, 4)
    left = bytearray(
        echo_request(4, identifier=outside_id, source=OWN["eth0"][0], destination=far(4, HOME))
    )
    left[22] ^= 0x10
    assert len(world.answer("home", quoting(4, bytes(left), Error.HOST_UNREACHABLE, 200))) == 1


@BOTH
def test_req_4_an_error_about_a_query_from_another_address_is_dropped(
    world: World, version: int
) -> None:
    """All that it quotes is as the query left, but for the source."""
    world.send(ping(version))
    _, outside_id = sent(world, version)
    other = "192.0.2.77" if version == 4 else "2001:db8:2::77"
    left = echo_request(
        version, identifier=outside_id, source=other, destination=far(version, HOME)
    )
    assert world.answer("home", quoting(version, left, Error.HOST_UNREACHABLE, 200)) == []
    assert world.drops == {"no-binding": 1}


@BOTH
def test_req_4_where_no_source_is_known_it_is_one_of_the_outbounds(
    world: World, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query left when the system had no route: its socket has chosen the source."""
    without_route = NetworkPath(1500, None)
    monkeypatch.setattr(world.outbounds.by_policy["home"], "path", lambda *_: without_route)
    world.send(ping(version))
    assert len(world.answer("home", error_about_last(world, version, Error.HOST_UNREACHABLE))) == 1
    _, outside_id = sent(world, version)
    other = "192.0.2.77" if version == 4 else "2001:db8:2::77"
    left = echo_request(
        version, identifier=outside_id, source=other, destination=far(version, HOME)
    )
    assert world.answer("home", quoting(version, left, Error.HOST_UNREACHABLE, 200)) == []
    assert world.drops == {"no-binding": 1}


@BOTH
def test_req_4_an_error_without_a_mapping_is_dropped(world: World, version: int) -> None:
    left = echo_request(version, identifier=0xC005, source=OWN["eth0"][version == 6])
    assert world.answer("home", quoting(version, left, Error.HOST_UNREACHABLE, 200)) == []
    assert world.drops == {"no-binding": 1}


@BOTH
@pytest.mark.parametrize("what", list(Error))
def test_req_4_an_error_with_a_mapping_is_restored(world: World, version: int, what: Error) -> None:
    world.send(ping(version))
    (delivered,) = world.answer("home", error_about_last(world, version, what))
    read: Packet = decoded(delivered)
    assert read.dst == INSIDE[version]
    message = bytes(read.payload)
    assert (message[0], message[1]) == what.type_and_code(version)
    inner = ip.parse(message[8:])
    assert ip.format_address(inner.source) == INSIDE[version]
    assert icmp.identifier(inner) == 7
    assert icmp.has_valid_checksum(inner)


def error_from_inside(world: World, version: int) -> tuple[ip.Packet, bytes]:
    """The answer that was delivered, and the error of the inside host about it."""
    world.send(ping(version))
    (delivered,) = world.answer("home", answer_to_last(world, version))
    about = ip.parse(delivered)
    return about, icmp.error(about.destination, about, Error.PORT_UNREACHABLE)


@BOTH
def test_req_5_an_error_from_inside_about_an_answer_is_restored(world: World, version: int) -> None:
    about, error = error_from_inside(world, version)
    assert world.send(error) == []
    ((packet, address),) = world.channel("home", version).errors
    own = OWN["eth0"][version == 6]
    assert address == ip.format_address(about.source) == far(version, HOME)
    read: Packet = decoded(packet)
    assert (read.src, read.dst) == (own, far(version, HOME))
    inner = ip.parse(bytes(read.payload)[8:])
    assert inner.source == about.source
    assert ip.format_address(inner.destination) == own
    assert icmp.identifier(inner) == sent(world, version)[1]
    assert icmp.has_valid_checksum(inner)


@BOTH
def test_req_5_an_error_from_inside_without_a_mapping_is_dropped(
    world: World, version: int
) -> None:
    about, _ = error_from_inside(world, version)
    unmapped = bytearray(about.data)
    unmapped[-1] ^= 1
    unmapped[about.payload + 4] ^= 0x55
    error = icmp.error(about.destination, ip.parse(bytes(unmapped)), Error.PORT_UNREACHABLE)
    assert world.send(error) == []
    assert world.drops == {"no-binding": 1}


@BOTH
def test_req_5_an_error_from_inside_with_a_wrong_checksum_is_dropped(
    world: World, version: int
) -> None:
    _, error = error_from_inside(world, version)
    damaged = bytearray(error)
    damaged[-1] ^= 1
    assert world.send(bytes(damaged)) == []
    assert world.drops == {"bad-checksum": 1}


@BOTH
def test_req_6_errors_neither_refresh_nor_end_a_session(world: World, version: int) -> None:
    world.send(ping(version), now=0.0)
    answer, error = answer_to_last(world, version), error_about_last(world, version, Error.NO_ROUTE)
    assert len(world.answer("home", error, now=IDLE - 1)) == 1
    assert len(world.answer("home", answer, now=IDLE - 1)) == 1, "the error has not ended it"
    world.send(ping(version, HOME + 1), now=200.0)
    world.answer("home", error_about_last_to(world, version, HOME + 1), now=200.0 + IDLE - 1)
    world.forwarder.expire(200.0 + IDLE)
    assert len(world.carriers.queries) == 0, "the error has not refreshed it"


def error_about_last_to(world: World, version: int, host: int) -> bytes:
    _, outside_id = sent(world, version)
    own = OWN["eth0"][version == 6]
    left = echo_request(version, identifier=outside_id, source=own, destination=far(version, host))
    return quoting(version, left, Error.NO_ROUTE, 200)


@BOTH
def test_req_8_refusal_is_administratively_prohibited(world: World, version: int) -> None:
    (by_policy,) = world.send(ping(version, REJECT))
    message = bytes(decoded(by_policy).payload)
    assert (message[0], message[1]) == ((3, 13) if version == 4 else (1, 1))
    table = world.carriers.queries._tables[version]
    table.limit = 0
    (for_want_of_room,) = world.send(ping(version))
    message = bytes(decoded(for_want_of_room).payload)
    assert (message[0], message[1]) == ((3, 13) if version == 4 else (1, 1))
    assert world.drops == {"rejected": 1, "table-full": 1}


@BOTH
@pytest.mark.parametrize("what", [Error.NO_ROUTE, Error.HOP_LIMIT_EXCEEDED])
def test_req_10_unreachable_time_exceeded_and_echo_are_supported(
    world: World, version: int, what: Error
) -> None:
    world.send(ping(version))
    assert len(world.answer("home", error_about_last(world, version, what))) == 1
    assert len(world.answer("home", answer_to_last(world, version))) == 1


@pytest.mark.parametrize("kind", [4, 5])
def test_req_10_source_quench_and_redirect_are_not_forwarded(world: World, kind: int) -> None:
    world.send(ping(4))
    _, outside_id = sent(world, 4)
    left = echo_request(4, identifier=outside_id, source=OWN["eth0"][0], destination=far(4, HOME))
    packet = bytes(IP(src="203.0.113.9", dst=OWN["eth0"][0]) / ICMP(type=kind) / left)
    assert world.answer("home", packet) == []
    assert world.drops == {"icmp-type": 1}


@pytest.mark.parametrize("kind", [9, 10, 30, 40, 253])
def test_req_11_other_types_are_dropped_and_counted(world: World, kind: int) -> None:
    packet = bytes(IP(src="203.0.113.9", dst=OWN["eth0"][0]) / ICMP(type=kind) / bytes(8))
    assert world.answer("home", packet) == []
    assert world.drops == {"icmp-type": 1}
    world.send(bytes(IP(src=INSIDE[4], dst=far(4, HOME)) / ICMP(type=kind) / bytes(8)))
    assert world.drops == {"icmp-type": 2}
    assert world.sent("home", 4) == []
