"""The client's side of SOCKS5, against the messages of socksio and of scapy."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.socks import SOCKS5UDP, SOCKS5Reply, SOCKS5Request
from socksio import socks5 as oracle

from router.wire import socks5
from router.wire.socks5 import Command, Credentials, Dialogue, Fault, LoggedIn, Reply
from tests.unit.examples import examples

LOGIN = Credentials("zoë".encode(), b"secret \xff")
ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
PORTS = st.integers(0, 65535)
TEXT = st.binary(min_size=1, max_size=255)


def dialogue(credentials: Credentials | None = None) -> Dialogue:
    return Dialogue(credentials, socks5.request(Command.CONNECT, bytes((192, 0, 2, 1)), 443))


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(bounds)]


def fed(talk: Dialogue, pieces: list[bytes]) -> tuple[object, bytes, bytes]:
    """The outcome, what was sent, and what is left."""
    sent = talk.take_output()
    for piece in pieces:
        talk.feed(piece)
        sent += talk.take_output()
    talk.end()
    return talk.outcome, sent, talk.rest


def asked_later(
    credentials: Credentials | None, pieces: list[bytes]
) -> tuple[object, bytes, bytes]:
    """The same, where the request is made once the login is over."""
    talk = Dialogue(credentials, b"")
    sent = talk.take_output()
    for position, piece in enumerate(pieces):
        talk.feed(piece)
        sent += talk.take_output()
        if talk.outcome is LoggedIn.LOGGED_IN:
            talk.ask(socks5.request(Command.CONNECT, bytes((192, 0, 2, 1)), 443))
            outcome, later, rest = fed(talk, pieces[position + 1 :])
            return outcome, sent + later, rest
    raise AssertionError("the login is not over")


def test_messages_without_login_are_those_of_socksio() -> None:
    client = oracle.SOCKS5Connection()
    client.send(oracle.SOCKS5AuthMethodsRequest([oracle.SOCKS5AuthMethod.NO_AUTH_REQUIRED]))
    talk = dialogue()
    assert talk.take_output() == client.data_to_send()
    client.receive_data(b"\x05\x00")
    talk.feed(b"\x05\x00")
    client.send(
        oracle.SOCKS5CommandRequest.from_address(oracle.SOCKS5Command.CONNECT, ("192.0.2.1", 443))
    )
    assert talk.take_output() == client.data_to_send()


@given(username=TEXT, password=TEXT)
@settings(max_examples=examples(50))
def test_a_login_is_that_of_socksio(username: bytes, password: bytes) -> None:
    talk = dialogue(Credentials(username, password))
    assert talk.take_output() == b"\x05\x02\x00\x02"
    talk.feed(b"\x05\x02")
    assert talk.take_output() == oracle.SOCKS5UsernamePasswordRequest(username, password).dumps()


@given(address=ADDRESSES, port=PORTS)
@settings(max_examples=examples(100))
def test_requests_and_datagrams_are_read_by_scapy(address: bytes, port: int) -> None:
    kind = 1 if len(address) == 4 else 4
    for command in Command:
        message = socks5.request(command, address, port)
        read = SOCKS5Request(message[1:])
        assert (message[0], read.cd, read.atyp, read.port) == (5, command, kind, port)
        assert ip_address(read.addr).packed == address
    header = socks5.udp_header(address, port)
    datagram = SOCKS5UDP(header + b"data")
    assert (datagram.frag, datagram.atyp, datagram.port) == (0, kind, port)
    assert ip_address(datagram.addr).packed == address
    assert bytes(datagram.payload) == b"data"
    assert len(header) == socks5.UDP_HEADER[4 if kind == 1 else 6]
    assert socks5.udp_header_size(header + b"data") == len(header)
    assert socks5.parse_endpoint(header[socks5.ADDRESS :]) == (address, port)


@given(
    with_password=st.booleans(),
    code=st.integers(0, 255),
    bound=ADDRESSES | st.none(),
    port=PORTS,
    behind=st.binary(max_size=40),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
@settings(max_examples=examples(400))
def test_any_split_gives_the_same(
    with_password: bool,
    code: int,
    bound: bytes | None,
    port: int,
    behind: bytes,
    cuts: list[int],
) -> None:
    where = socks5.endpoint(bound, port) if bound is not None else b"\x03\x05proxy\x00\x09"
    chosen = b"\x05\x02\x01\x00" if with_password else b"\x05\x00"
    stream = chosen + bytes((5, code, 0)) + where + behind
    credentials = LOGIN if with_password else None
    whole = fed(dialogue(credentials), [stream])
    assert fed(dialogue(credentials), split(stream, cuts)) == whole
    assert asked_later(credentials, split(stream, cuts)) == whole
    outcome, _, rest = whole
    if code:
        assert outcome == Reply(code)
    else:
        assert outcome == Reply(0, bound or b"", port if bound is not None else 9)
        assert rest == behind


@given(
    code=st.integers(0, 8),
    bound=ADDRESSES,
    port=PORTS,
    behind=st.binary(max_size=40),
)
@settings(max_examples=examples(100))
def test_who_reads_what_is_wanted_leaves_what_is_behind(
    code: int, bound: bytes, port: int, behind: bytes
) -> None:
    kind = 1 if len(bound) == 4 else 4
    reply = SOCKS5Reply(rep=code, atyp=kind, addr=str(ip_address(bound)), port=port)
    stream = b"\x05\x00\x05" + bytes(reply) + behind
    talk, at = dialogue(), 0
    while talk.wanted:
        size = talk.wanted
        talk.feed(stream[at : at + size])
        at += size
    if not code:
        assert talk.rest == b""
        assert talk.outcome == Reply(0, bound, port)
        assert stream[at:] == behind


@given(data=st.binary(max_size=600), cuts=st.lists(st.integers(0, 600), max_size=8))
@settings(max_examples=examples(600))
def test_any_bytes_end_in_an_outcome(data: bytes, cuts: list[int]) -> None:
    for credentials in (None, LOGIN):
        for start in (b"", b"\x05\x00", b"\x05\x02\x01\x00", b"\x05\x00\x05\x00\x00"):
            talk = dialogue(credentials)
            outcome, _, _ = fed(talk, split(start + data, cuts))
            assert outcome is not None
            assert talk.wanted == 0


@given(data=st.binary(max_size=60))
@settings(max_examples=examples(300))
def test_a_damaged_datagram_has_no_header(data: bytes) -> None:
    size = socks5.udp_header_size(data)
    assert size is None or 10 <= size <= len(data)


@pytest.mark.parametrize(
    ("credentials", "stream", "outcome"),
    [
        (None, b"", Fault.NOT_SOCKS5),
        (None, b"HTTP/1.1 400 Bad Request\r\n", Fault.NOT_SOCKS5),
        (None, b"\x05\xff", Fault.NO_METHOD),
        (None, b"\x05\x02", Fault.NO_METHOD),
        (LOGIN, b"\x05\xff", Fault.NO_METHOD),
        (LOGIN, b"\x05\x02", Fault.BAD_LOGIN),
        (LOGIN, b"\x05\x02\x01\x01", Fault.BAD_LOGIN),
        (LOGIN, b"\x05\x02\x05\x00", Fault.ENDED),
        (LOGIN, b"\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", Reply(0, bytes(4), 0)),
        (None, b"\x05\x00", Fault.ENDED),
        (None, b"\x05\x00\x05\x05", Reply(5)),
        (None, b"\x05\x00\x04\x5a", Fault.NOT_SOCKS5),
        (None, b"\x05\x00\x05\x00\x00\x02\x00", Fault.NOT_SOCKS5),
    ],
)
def test_outcomes(credentials: Credentials | None, stream: bytes, outcome: object) -> None:
    assert fed(dialogue(credentials), [stream])[0] == outcome


def test_without_a_request_it_ends_with_the_login() -> None:
    talk = Dialogue(LOGIN, b"")
    talk.feed(b"\x05\x02\x01\x00")
    assert talk.outcome is LoggedIn.LOGGED_IN


def test_credentials_do_not_show() -> None:
    assert "secret" not in f"{LOGIN} {LOGIN!r} {[LOGIN]}"
