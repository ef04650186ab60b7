"""What has left directly without a connection."""

from __future__ import annotations

import pytest

from router.engine.direct.sent import IDLE, SentFlow, SentFlows
from router.wire import ip
from router.wire.offload import HEADER
from tests.unit.wire.packets import ICMP, IP, UDP, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6

SOURCE = {4: "192.0.2.2", 6: "2001:db8:2::2"}
FAR = {4: "198.51.100.9", 6: "2001:db8:100::9"}
BOTH = pytest.mark.parametrize("version", [4, 6])


def query(version: int, identifier: int = 7) -> bytes:
    if version == 4:
        return bytes(IP(src=SOURCE[4], dst=FAR[4]) / ICMP(id=identifier))
    return bytes(IPv6(src=SOURCE[6], dst=FAR[6]) / ICMPv6EchoRequest(id=identifier))


def datagram(version: int, port: int = 53) -> bytes:
    head = (IP if version == 4 else IPv6)(src=SOURCE[version], dst=FAR[version])
    return bytes(head / UDP(sport=4000, dport=port) / b"1")


def only(sent: SentFlows, now: float) -> SentFlow:
    (found,) = sent.live(now)
    return found


@BOTH
def test_a_query(version: int) -> None:
    sent = SentFlows()
    sent.note(ip.parse(query(version)), 10.0)
    sent.note_query(bytearray(HEADER) + query(version), 11.0)
    flow = only(sent, 12.0)
    assert (flow.version, flow.ports, flow.first, flow.last) == (version, (7, 7), 10.0, 11.0)
    assert ip.format_address(flow.source) == SOURCE[version]
    assert ip.format_address(flow.destination) == FAR[version]
    assert sent.times(flow.key, 12.0) == (10.0, 11.0)
    assert list(sent.live(11.0 + IDLE)) == []
    assert sent.times(flow.key, 11.0 + IDLE) is None


@BOTH
def test_datagrams(version: int) -> None:
    sent = SentFlows()
    sent.note(ip.parse(datagram(version)), 10.0)
    flow = only(sent, 10.0)
    assert (flow.protocol, flow.ports) == (ip.UDP, (4000, 53))
    sent.note_key(flow.key, 12.0)
    sent.note(ip.parse(datagram(version, 54)), 11.0)
    assert [(each.ports[1], each.last) for each in sent.live(13.0)] == [(53, 12.0), (54, 11.0)]


def test_answers_and_others_are_no_flows() -> None:
    sent = SentFlows()
    others = [
        IP(src=SOURCE[4], dst=FAR[4]) / ICMP(type=0, id=7),
        IP(src=SOURCE[4], dst=FAR[4]) / ICMP(type=3) / IP(query(4)),
        IPv6(src=SOURCE[6], dst=FAR[6]) / ICMPv6EchoReply(id=7),
        IP(src=SOURCE[4], dst=FAR[4], proto=47) / bytes(8),
        IP(src=SOURCE[4], dst=FAR[4], proto=17) / b"short",
        IP(src=SOURCE[4], dst=FAR[4], frag=3, proto=17) / bytes(20),
    ]
    for packet in others:
        sent.note(ip.parse(bytes(packet)), 10.0)
    assert list(sent.live(10.0)) == []


def test_options_are_left_to_what_decides() -> None:
    sent = SentFlows()
    packet = bytes(IP(src=SOURCE[4], dst=FAR[4], options=b"\1" * 4) / ICMP(id=7))
    sent.note_query(bytearray(HEADER) + packet, 10.0)
    assert list(sent.live(10.0)) == []
    sent.note(ip.parse(packet), 10.0)
    assert only(sent, 10.0).ports == (7, 7)


def test_a_flow_of_which_an_earlier_packet_may_be_forgotten_has_no_age(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    most = 64
    monkeypatch.setattr("router.engine.direct.sent.MOST", most)
    sent = SentFlows()
    for number in range(most):
        sent.note(ip.parse(query(4, number)), 10.0)
    sent.note(ip.parse(query(4, 1)), 11.0)
    sent.note(ip.parse(query(4, 0)), 12.0)
    sent.note(ip.parse(query(4, most)), 13.0)
    times = {flow.ports[0]: (flow.first, flow.last) for flow in sent.live(13.0)}
    assert len(times) == most
    assert 0 not in times, "the one that began first"
    assert (times[1], times[most]) == ((10.0, 11.0), (None, 13.0))
    sent.note(ip.parse(query(4, 0)), 14.0)
    assert sent.live(14.0)[0].first is None
    later = 14.0 + 2 * IDLE
    sent.note(ip.parse(query(4, most + 1)), later)
    assert [flow.first for flow in sent.live(later)] == [later], "nothing live was forgotten since"
