"""Property: whatever a program sends from its outbound's address leaves as it is but for its hop
limit, in its order."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IPOption

from router.wire import offload
from tests.unit.engine.direct.cases import (
    ETH0,
    direct_world,
    frames,
    left,
    one_hop_less,
    unsummed,
)
from tests.unit.engine.world import far
from tests.unit.examples import examples
from tests.unit.wire.packets import (
    ICMP,
    IP,
    TCP,
    UDP,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Packet,
    Raw,
)

BYTE = st.integers(0, 255)
PORT = st.integers(0, 65535)
HOPS = st.integers(2, 255)
HOST = st.integers(9, 12)
PLAIN = offload.NOTHING_LEFT


@st.composite
def v4(draw: st.DrawFn) -> Packet:
    options = draw(st.sampled_from([b"", b"\x01\x01\x01\x00", b"\x94\x04\x00\x00"]))
    return IP(
        src=ETH0[4],
        dst=far(4, draw(HOST)),
        ttl=draw(HOPS),
        tos=draw(BYTE),
        id=draw(PORT),
        flags=draw(st.sampled_from([0, "DF", "MF"])),
        frag=draw(st.sampled_from([0, 0, 0, 185])),
        options=[IPOption(options)] if options else [],
    )


@st.composite
def v6(draw: st.DrawFn) -> Packet:
    packet: Packet = IPv6(
        src=ETH0[6],
        dst=far(6, draw(HOST)),
        hlim=draw(HOPS),
        tc=draw(BYTE),
        fl=draw(st.integers(0, 0xFFFFF)),
    )
    for extension in draw(
        st.lists(st.sampled_from([IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt]), max_size=2, unique=True)
    ):
        packet /= extension()
    if draw(st.booleans()):
        packet /= IPv6ExtHdrFragment(offset=draw(st.sampled_from([0, 185])), m=1, id=draw(PORT))
    return packet


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    version = draw(st.sampled_from([4, 6]))
    header = draw(v4() if version == 4 else v6())
    payload = draw(st.binary(max_size=64))
    upper: Packet = draw(
        st.sampled_from(
            [
                TCP(sport=draw(PORT), dport=draw(PORT), flags=draw(st.sampled_from("SAFRP"))),
                UDP(sport=draw(PORT), dport=draw(PORT)),
                ICMP(id=draw(PORT)) if version == 4 else ICMPv6EchoRequest(id=draw(PORT)),
                Raw(bytes(8)),
            ]
        )
    )
    if isinstance(upper, Raw):
        last = header.lastlayer()
        setattr(last, "proto" if version == 4 else "nh", draw(st.sampled_from([47, 50, 132, 253])))
    return bytes(header / upper / payload)


def plain_transport(packet: bytes) -> bool:
    """TCP or UDP right behind the fixed header, whole: the system may leave its sum to others."""
    if packet[0] >> 4 == 4:
        return packet[0] == 0x45 and packet[9] in (6, 17) and packet[6] & 0x3F == packet[7] == 0
    return packet[6] in (6, 17)


@settings(max_examples=examples(40))
@given(st.lists(st.tuples(packets(), st.booleans()), min_size=1, max_size=12))
def test_any_stream_of_packets_leaves_unchanged(stream: list[tuple[bytes, bool]]) -> None:
    with TemporaryDirectory() as directory:
        world = direct_world(Path(directory))
        given_frames = [
            unsummed(packet) if open_sum and plain_transport(packet) else PLAIN + packet
            for packet, open_sum in stream
        ]
        assert frames(world, given_frames) == []
        assert left(world) == [one_hop_less(packet) for packet, _ in stream]
        assert world.drops == {}
        world.close()
