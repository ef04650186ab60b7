"""`tunrouter flows` against what was sent: those of a LAN host, which are relayed, and those of
programs on the router's machine, which leave directly and are compared with `ss`."""

from __future__ import annotations

import json
import re
import threading
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import pytest

from router.control.client import follow
from tests.e2e import ping, sockets
from tests.e2e.direct.ends import connection, datagrams, end
from tests.e2e.status import read_status, socket_of
from tests.e2e.tcp_bed import Pair, alongside
from tests.e2e.testbed import V4, V6, Family, Testbed
from tests.e2e.tunrouter import PROGRAM
from tests.e2e.udp import ECHO, HOME, OFFICE, RULES, add_bare_routes, echoing
from tests.e2e.wait import wait_until

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]

SIZE = 2_000_000
MEMBERS = {
    *("protocol", "source", "source_port", "destination", "destination_port", "policy", "rule"),
    *("interface", "outside", "outside_port", "state", "age_s", "idle_s"),
    *("packets_out", "bytes_out", "packets_in", "bytes_in", "path"),
}
SEGMENTS = {"segments_out", "segments_resent"}
"""Of TCP."""
RULE = {(4, HOME): 3, (4, OFFICE): 4, (6, HOME): 5, (6, OFFICE): 6}
"""Of RULES, by IP version and host."""
HEADERS = {4: 52, 6: 72}
"""Bytes of IP and TCP in a segment with timestamps."""
LARGEST = 1460
"""Bytes of data in a segment, at the most."""
RETRANSMITTED = re.compile(r"\bretrans:\d+/(\d+)")
RTT = re.compile(r"\brtt:([\d.]+)/")

Flow = dict[str, Any]


def read_flows(bed: Testbed, *options: str) -> list[Flow]:
    found: list[Flow] = json.loads(bed.router.run(PROGRAM, "flows", "--json", *options).stdout)
    return found


def flow_to(bed: Testbed, address: str, port: int, protocol: str) -> Flow:
    """The only one."""
    (found,) = (
        flow
        for flow in read_flows(bed, "--protocol", protocol)
        if (flow["destination"], flow["destination_port"]) == (address, port)
    )
    assert {*found} - {"rtt_ms", *SEGMENTS} == MEMBERS
    return found


def upload(pair: Pair) -> None:
    """SIZE bytes, and one back when they have arrived."""
    with alongside(partial(pair.client.sendall, bytes(SIZE))):
        received = 0
        while received < SIZE:
            received += len(pair.server.recv(1 << 16))
    pair.server.sendall(b"!")
    assert pair.client.recv(1) == b"!"


@pytest.mark.parametrize(("family", "host"), [(V4, HOME), (V6, OFFICE)], ids=["home", "office-6"])
def test_a_direct_connection_is_as_the_kernel_counts_it(
    bed: Testbed, family: Family, host: int
) -> None:
    address = family.far(host + 1)
    with connection(bed, family, address) as pair:
        upload(pair)
        port = pair.server.getsockname()[1]
        flow = flow_to(bed, address, port, "tcp")
        shown = bed.router.run("ss", "-tinH", "dst", f"[{address}]").stdout
        source, source_port = end(pair.client.getsockname())
    assert (flow["source"], flow["source_port"]) == (source, source_port)
    assert (flow["path"], flow["state"], flow["outside"]) == ("direct", "established", None)
    policy, interface = {HOME: ("home", "eth0"), OFFICE: ("office", "wg0")}[host]
    assert (flow["policy"], flow["interface"]) == (policy, interface)
    assert flow["rule"] == RULE[family.version, host]
    headers = HEADERS[family.version]
    assert SIZE <= flow["bytes_out"] - flow["packets_out"] * headers < 1.5 * SIZE
    assert flow["bytes_in"] == 1 + flow["packets_in"] * headers
    assert flow["age_s"] is None
    assert SIZE / LARGEST < flow["segments_out"] <= flow["packets_out"]
    retransmitted = RETRANSMITTED.search(shown)
    assert flow["segments_resent"] == (int(retransmitted[1]) if retransmitted else 0)
    assert 0 <= flow["idle_s"] < 60
    rtt = RTT.search(shown)
    assert rtt, shown
    assert flow["rtt_ms"] == float(rtt[1])


def test_a_relayed_connection(bed: Testbed) -> None:
    address = V4.far(HOME + 2)
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        client = sockets.connected(bed.client, V4, address, port)
        pair = Pair(client, listener.accept()[0])
        with closing(pair):
            upload(pair)
            flow = flow_to(bed, address, port, "tcp")
            outside = end(pair.server.getpeername())
            source = client.getsockname()
    assert (flow["source"], flow["source_port"]) == source
    assert (flow["outside"], flow["outside_port"]) == outside
    assert (flow["path"], flow["state"], flow["policy"], flow["rule"]) == (
        *("relayed", "relayed", "home"),
        RULE[4, HOME],
    )
    assert SIZE < flow["bytes_out"] < 1.5 * SIZE
    assert 0 < flow["bytes_in"] < SIZE
    assert 0 <= flow["idle_s"] <= flow["age_s"] < 60
    assert 0 < flow["rtt_ms"] < 10_000
    assert flow["segments_out"] > SIZE / LARGEST
    assert 0 <= flow["segments_resent"] < flow["segments_out"]


def test_pings_and_datagrams(bed: Testbed) -> None:
    address = V4.far(HOME + 3)
    assert ping.answered(bed.client, address, count=5).received == 5
    (flow,) = (each for each in read_flows(bed) if each["destination"] == address)
    counted = flow["packets_out"], flow["bytes_out"], flow["packets_in"], flow["bytes_in"]
    assert counted == (5, 5 * 84, 5, 5 * 84)
    assert (flow["protocol"], flow["state"], flow["outside"]) == ("icmp", "answered", V4.eth0)
    assert flow["outside_port"] >= 0x8000
    assert 0 < flow["rtt_ms"] < 10_000
    with echoing(bed, V6, HOME + 3):
        flow = flow_to(bed, V6.far(HOME + 3), ECHO, "udp")
    counted = flow["packets_out"], flow["bytes_out"], flow["packets_in"], flow["bytes_in"]
    assert counted == (1, 52, 1, 52)
    assert (flow["state"], flow["outside"], flow["path"]) == ("answered", V6.eth0, "relayed")
    with datagrams(bed, V4, V4.far(OFFICE + 3)) as pair:
        pair.client.send(b"direct")
        flow = flow_to(bed, V4.far(OFFICE + 3), sockets.port_of(pair.server), "udp")
    assert (flow["path"], flow["policy"], flow["bytes_out"]) == ("direct", "office", None)


@pytest.mark.parametrize("host", [HOME, OFFICE], ids=["home", "office"])
def test_direct_pings_and_datagrams_of_unconnected_sockets(
    bed: Testbed, family: Family, host: int
) -> None:
    """Two programs each, so that nothing is told apart by addresses alone."""
    address, interface = family.far(host + 5), {HOME: "eth0", OFFICE: "wg0"}[host]
    command = "ping", "-q", "-i", "0.1", address

    def found(protocol: str) -> list[Flow]:
        flows = read_flows(bed, "--protocol", protocol)
        return [flow for flow in flows if flow["destination"] == address]

    with ExitStack() as stack:
        for _ in range(2):
            stack.callback(bed.router.start(*command).close)
        clients = [stack.enter_context(sockets.datagram(bed.router, family)) for _ in range(2)]
        for _ in range(2):
            for client in clients:
                client.sendto(b"1", (address, ECHO))
        wait_until(lambda: len(found("icmp")) == 2, "two pings", detail=lambda: str(found("icmp")))
        flows = [*found("icmp"), *found("udp")]
        ports = [sockets.port_of(client) for client in clients]
    assert [flow["protocol"] for flow in flows] == ["icmp", "icmp", "udp", "udp"]
    assert sorted(flow["source_port"] for flow in flows[2:]) == sorted(ports)
    assert len({flow["source_port"] for flow in flows[:2]}) == 2
    for flow in flows:
        assert {*flow} == MEMBERS
        assert flow["source"] == getattr(family, interface)
        assert flow["interface"] == interface
        assert flow["rule"] == RULE[family.version, host]
        assert (flow["path"], flow["state"], flow["outside"]) == ("direct", "sent", None)
        assert 0 <= flow["idle_s"] <= flow["age_s"] < 60
        unknown = "packets_out", "bytes_out", "packets_in", "bytes_in"
        assert [flow[each] for each in unknown] == [None] * 4
    assert found("udp") == [], "the sockets are closed"


def test_what_is_asked_for(bed: Testbed) -> None:
    to_home, to_office = V4.far(HOME + 4), V4.far(OFFICE + 4)
    with connection(bed, V4, to_home), connection(bed, V4, to_office) as pair:
        upload(pair)

        def shown(*options: str) -> list[str]:
            both = (to_home, to_office)
            found = (flow["destination"] for flow in read_flows(bed, *options))
            return [each for each in found if each in both]

        assert shown() == [to_office, to_home]
        print(json.dumps(read_flows(bed), indent=1))
        assert shown("--sort", "idle") == [to_home, to_office]
        assert shown("--policy", "home") == shown("--rule", str(RULE[4, HOME])) == [to_home]
        assert shown("--protocol", "udp") == shown("--rule", "0") == []
        table = bed.router.run(PROGRAM, "flows", "--policy", "office", "--protocol", "tcp").stdout
        assert to_office in table
        assert to_home not in table
    for option, value, why in (
        ("--policy", "hme", 'there is no policy "hme": did you mean "home"?'),
        ("--rule", "99", "there is no rule 99: the rules are 1 to 6; 0 is the default"),
    ):
        refused = bed.router.run(PROGRAM, "flows", option, value, check=False)
        assert (refused.returncode, refused.stderr) == (1, f"tunrouter flows: {why}\n")


def test_followers(bed: Testbed) -> None:
    path = socket_of(bed.router)
    with (
        closing(follow(path, {"command": "events", "version": 2})) as events,
        closing(follow(path, {"command": "status", "version": 2, "interval_s": 0.1})) as states,
    ):
        first, second = next(states), next(states)
        assert first["pid"] == second["pid"] == read_status(bed.router)["pid"]
        assert second["uptime_s"] - first["uptime_s"] > 0.05
        seen = threading.Event()
        with alongside(partial(reload_until, seen, bed)):
            event = next(events)
            seen.set()
        assert (event["event"], event["reloaded"]) == ("reload", True)
        bed.router.ip("link set wg0 down")
        event = next(event for event in events if event["event"] == "policy")
    bed.router.ip("link set wg0 up")
    add_bare_routes(bed)
    assert (event["policy"], event["state"], event["applies"]) == ("office", "down", "reject")


def reload_until(seen: threading.Event, bed: Testbed) -> None:
    """A follower may begin to follow behind the first one."""
    while not seen.is_set():
        bed.router.run(PROGRAM, "reload")
