"""Reading the present network: what is found, and that nothing unreadable raises."""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address
from pathlib import Path

import pyroute2
import pytest
from pyroute2.netlink.generic.wireguard import wgmsg

from router.platform import endpoints
from router.platform.linux import present, wireguard
from router.platform.linux.netlink.messages import attributes
from router.platform.linux.present import present_network
from router.platform.resolver import read_dns_servers
from router.policy.network import TABLE_LOCAL, Endpoint, Interface, RouteKind

WG0 = Interface("wg0", 5, True, 1420)

ANSWER = """\
private_key=00
listen_port=51820
public_key=aa
endpoint=203.0.113.2:51820
public_key=bb
endpoint=[2001:db8::7]:443
public_key=cc
endpoint=[fe80::1%eth0]:5
errno=0

"""


def addresses(*texts: str) -> tuple[tuple[int, int], ...]:
    return tuple((ip_address(text).version, int(ip_address(text))) for text in texts)


def test_loopback_is_found_without_root() -> None:
    network = present_network()
    assert network.readable
    assert "127.0.0.1" in [str(address.ip) for address in network.interfaces["lo"].addresses]
    assert not network.interfaces["lo"].asks_neighbours
    local = [route for route in network.routes if route.kind is RouteKind.LOCAL]
    assert (4, int(ip_address("127.0.0.1")), 32, "lo") in [route[:4] for route in local]
    first = next(lookup for lookup in network.lookups if lookup.version == 4)
    assert first.table == TABLE_LOCAL


def test_a_system_without_netlink_is_reported_as_unreadable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse() -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(present, "rtnetlink", refuse)
    network = present_network(tmp_path / "resolv.conf")
    assert not network.readable
    assert "Operation not permitted" in network.unread[0]
    assert network.interfaces == {}


def test_dns_servers(tmp_path: Path) -> None:
    conf, upstream = tmp_path / "resolv.conf", tmp_path / "upstream.conf"
    unread: list[str] = []
    assert read_dns_servers(conf, unread, upstream) == ()
    conf.write_text("# x\nsearch home\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n")
    assert read_dns_servers(conf, unread, upstream) == addresses("192.0.2.53", "fe80::1")
    conf.write_text("nameserver 192.0.2.53\nnameserver 192.0.2.53\nnameserver\nnameserver x\n")
    assert read_dns_servers(conf, unread, upstream) == addresses("192.0.2.53")
    conf.write_text("nameserver 127.0.0.53\n")
    assert read_dns_servers(conf, unread, upstream) == addresses("127.0.0.53")
    upstream.write_text("nameserver 2001:db8::53\n")
    assert read_dns_servers(conf, unread, upstream) == addresses("2001:db8::53")
    assert unread == []
    assert read_dns_servers(tmp_path, unread, upstream) == ()
    assert "Is a directory" in unread[0]


def serve_once(path: Path, answer: str) -> threading.Thread:
    """A control socket that answers one `get`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)

    def serve() -> None:
        with listener, listener.accept()[0] as control:
            assert control.recv(100) == b"get=1\n\n"
            for piece in (answer[:40], answer[40:]):
                control.sendall(piece.encode())

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_endpoints_by_control_socket(tmp_path: Path) -> None:
    unread: list[str] = []
    thread = serve_once(tmp_path / "wg0.sock", ANSWER)
    found = endpoints.read_endpoints({"wg0": WG0}, {}, unread, tmp_path)
    thread.join()
    assert found == (
        Endpoint("wg0", *addresses("203.0.113.2")[0], 51820),
        Endpoint("wg0", *addresses("2001:db8::7")[0], 443),
        Endpoint("wg0", *addresses("fe80::1")[0], 5),
    )
    assert unread == []


def test_endpoints_by_generic_netlink(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel's own WireGuard, as messages of its layout: not every kernel here has it."""
    peers = [
        {"attrs": [["WGPEER_A_ENDPOINT", {"addr": "203.0.113.2", "port": 51820}]]},
        {"attrs": []},
        {"attrs": [["WGPEER_A_ENDPOINT", {"addr": "2001:db8::7", "port": 443}]]},
    ]
    message = wgmsg()
    message["attrs"] = [["WGDEVICE_A_IFNAME", "wg0"], ["WGDEVICE_A_PEERS", peers]]
    message.encode()
    answer = wgmsg(message.data)
    answer.decode()

    class MemoryWireGuard:
        def __enter__(self) -> MemoryWireGuard:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def info(self, name: str) -> list[object]:
            assert name == "wg0"
            return [answer]

    monkeypatch.setattr(pyroute2, "WireGuard", MemoryWireGuard)
    unread: list[str] = []
    assert endpoints.read_endpoints(
        {"wg0": WG0}, wireguard.tunnel_readers(["wg0"]), unread, tmp_path / "absent"
    ) == (
        Endpoint("wg0", *addresses("203.0.113.2")[0], 51820),
        Endpoint("wg0", *addresses("2001:db8::7")[0], 443),
    )
    assert unread == []


def test_a_control_socket_with_an_invalid_answer(tmp_path: Path) -> None:
    unread: list[str] = []
    thread = serve_once(tmp_path / "wg0.sock", "endpoint=x:y" + " " * 40 + "\n\n")
    assert endpoints.read_endpoints({"wg0": WG0}, {}, unread, tmp_path) == ()
    thread.join()
    assert unread == ["the endpoints of wg0 (an invalid answer)"]


def test_control_sockets_that_do_not_answer(tmp_path: Path) -> None:
    unread: list[str] = []
    (tmp_path / "wg0.sock").write_text("no socket")
    (tmp_path / "gone0.sock").write_text("of an interface that is not there")
    assert endpoints.read_endpoints({"wg0": WG0}, {}, unread, tmp_path) == ()
    assert len(unread) == 1
    assert "wg0" in unread[0]
    assert endpoints.read_endpoints({}, {}, unread, tmp_path / "absent") == ()
    assert len(unread) == 1


def test_a_tunnel_that_stops_answering_keeps_its_endpoints_and_is_not_read_again() -> None:
    now = [100.0]
    memory = endpoints.EndpointMemory(lambda: now[0])
    answers: list[tuple[Endpoint, ...] | None] = []

    def read() -> tuple[Endpoint, ...]:
        answer = answers.pop(0)
        if answer is None:
            raise TimeoutError
        return answer

    first, second = ((Endpoint("wg0", 4, number, 51820),) for number in (1, 2))
    answers += [None, first, None, second]
    assert memory("wg0", read) == ()
    assert memory("wg0", read) == (), "not read again"
    now[0] += endpoints.RETRY_S
    assert memory("wg0", read) == first
    assert memory("wg0", read) == first, "it has not answered"
    assert memory("wg0", read) == first, "not read again"
    assert memory("wg1", lambda: second) == second
    now[0] += endpoints.RETRY_S
    assert memory("wg0", read) == second
    assert answers == []


def test_only_root_may_read_endpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    def refuse_kernel() -> list[Endpoint]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(endpoints, "_listable", refuse)
    unread: list[str] = []
    assert endpoints.read_endpoints({"wg0": WG0}, {"wg0": refuse_kernel}, unread, tmp_path) == ()
    assert [line.endswith("(only root may)") for line in unread] == [True, True]


@pytest.mark.parametrize("data", [b"", b"\1", b"\0\0\0\0", b"\3\0\1\0", b"\xff\xff\1\0abc"])
def test_attributes_that_are_cut_off_end_the_reading(data: bytes) -> None:
    assert set(attributes(data)) <= {1}
