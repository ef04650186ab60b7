"""`tunrouter trace` of real programs by both paths: a LAN host's packets are relayed, those of the
router's machine leave directly."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import ping
from tests.e2e.captured import packets_handed_to
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import PROGRAM, TUN, rules
from tests.e2e.udp import DNS, HOME, OFFICE, add_bare_routes, sixteen
from tests.e2e.wait import wait_until

DROPPED, REJECTED, REPLIED = 80, 81, 82
RULES = rules(
    *(f"{family.far(DROPPED)} -> drop" for family in FAMILIES),
    *(f"{family.far(REJECTED)} -> reject" for family in FAMILIES),
    *(f"{family.far(REPLIED)} -> reply" for family in FAMILIES),
    *(f"{sixteen(family, HOME)} -> home" for family in FAMILIES),
    *(f"{sixteen(family, OFFICE)} -> office" for family in FAMILIES),
)
FIRST_RULE = {DROPPED: 1, REJECTED: 3, REPLIED: 5, HOME: 7, OFFICE: 9}
"""Of IPv4; that of IPv6 is the next."""
HTTP = 8080
MEMBERS = [
    *("time", "direction", "length", "protocol", "source", "source_port", "destination"),
    *("destination_port", "verdict", "reason", "rule", "policy", "interface", "summary"),
    *("path", "outside", "outside_port"),
]
PATHS = pytest.mark.parametrize("path", ["relayed", "direct"])

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]

Line = dict[str, Any]


def rule_of(family: Family, host: int) -> int:
    return FIRST_RULE[host] + (family.version == 6)


def sender(bed: Testbed, path: str) -> Namespace:
    return bed.client if path == "relayed" else bed.router


@contextmanager
def tracing(bed: Testbed, *arguments: str) -> Iterator[Process]:
    """A trace that has begun."""
    process = bed.router.start(PROGRAM, "trace", *arguments)
    try:
        process.wait_for_output(f"tracing {TUN}")
        yield process
    finally:
        process.close()


def lines_of(process: Process) -> list[Line]:
    """Whole lines of --json so far."""
    return [json.loads(line) for line in process.stdout.split("\n")[:-1]]


def ended(process: Process) -> list[Line]:
    """The lines of a trace that ends by itself."""
    assert process.wait() == 0, process.report()
    assert "Traceback" not in process.stderr
    return lines_of(process)


@PATHS
def test_pings_and_their_answers(bed: Testbed, path: str) -> None:
    pinged = [(family, host) for family in FAMILIES for host in (HOME, OFFICE)]
    words = " or ".join(f"host {family.far(host + 1)}" for family, host in pinged)
    with tracing(bed, "--json", "--count", str(6 * len(pinged)), words) as trace:
        for family, host in pinged:
            address = family.far(host + 1)
            assert ping.answered(sender(bed, path), address, count=3).received == 3
        lines = ended(trace)
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    for number, (family, host) in enumerate(pinged):
        _assert_pings(lines[6 * number : 6 * number + 6], family, host, path)


def _assert_pings(lines: list[Line], family: Family, host: int, path: str) -> None:
    """Three requests, each before its answer, which the next one may precede."""
    directions = [line["direction"] for line in lines]
    assert sorted(directions) == ["in"] * 3 + ["out"] * 3
    for end in range(len(lines)):
        assert directions[:end].count("in") <= directions[:end].count("out")
    address, interface = family.far(host + 1), "eth0" if host == HOME else "wg0"
    for line in lines:
        assert list(line) == MEMBERS
        assert line["protocol"] == "icmp"
        assert (line["verdict"], line["reason"]) == ("forward", None)
        assert line["policy"] == ("home" if host == HOME else "office")
        assert (line["rule"], line["interface"]) == (rule_of(family, host), interface)
        assert line["path"] == path
        outside = getattr(family, interface) if path == "relayed" else None
        assert line["outside"] == outside
        assert line["length"] == (84 if family.version == 4 else 104)
        away = line["direction"] == "out"
        assert line["destination" if away else "source"] == address
    assert "echo" in lines[0]["summary"].lower()


@PATHS
def test_lookups(bed: Testbed, path: str) -> None:
    servers = [family.far(HOME + 2) for family in FAMILIES]
    words = f"port {DNS} and (host {servers[0]} or host {servers[1]})"
    with tracing(bed, "--json", "--count", "4", words) as trace:
        for server in servers:
            command = "dig", f"@{server}", "-p", str(DNS), "+tries=1", "+noedns", "name.example"
            sender(bed, path).run(*command)
        lines = ended(trace)
    for server, out, answer in zip(servers, lines[::2], lines[1::2], strict=True):
        assert (out["direction"], answer["direction"]) == ("out", "in")
        assert out["destination"] == answer["source"] == server
        assert (out["source"], out["source_port"]) == (
            answer["destination"],
            answer["destination_port"],
        )
        assert {line["path"] for line in (out, answer)} == {path}
        assert "name.example" in out["summary"]


@PATHS
def test_a_download_is_traced_as_its_program_has_it(
    bed: Testbed, family: Family, path: str, tmp_path: Path
) -> None:
    """Nothing of what passes between the router and its own kernel is shown. That has addresses of
    the TUN; those of other hosts are left out, as a connection of a test before may end now."""
    (tmp_path / "file").write_bytes(bytes(200_000))
    address = family.far(HOME + 3)
    argv = "-m", "http.server", "--bind", "::", "--directory", str(tmp_path), str(HTTP)
    server = bed.far.start(sys.executable, *argv)
    try:
        server.wait_for_output("Serving")
        ours = f"net {family.tun}/{30 if family.version == 4 else 126}"
        with tracing(bed, "--json", f"tcp and (host {address} or {ours})") as trace:
            host = f"[{address}]" if family.version == 6 else address
            url = f"http://{host}:{HTTP}/file"
            sender(bed, path).run("curl", "-sS", "--fail", "-o", str(tmp_path / "got"), url)
            wait_until(
                lambda: _ends_with_fin(lines_of(trace), address) == {"out", "in"},
                "both ends of the connection",
                detail=trace.report,
            )
            assert trace.stop(signal.SIGINT) == 0
            assert "left out" not in trace.stderr
            lines = lines_of(trace)
    finally:
        server.close()
    assert (tmp_path / "got").stat().st_size == 200_000
    client = lines[0]["source"], lines[0]["source_port"]
    for line in lines:
        ends = (
            (line["source"], line["source_port"]),
            (line["destination"], line["destination_port"]),
        )
        assert set(ends) == {client, (address, HTTP)}
        assert (ends[0] == client) == (line["direction"] == "out")
        assert (line["policy"], line["path"]) == ("home", path)
    assert sum(line["length"] for line in lines if line["direction"] == "in") > 200_000


def _ends_with_fin(lines: list[Line], address: str) -> set[str]:
    """The directions that have ended, of connections with an address."""
    with_address = (each for each in lines if address in (each["source"], each["destination"]))
    return {each["direction"] for each in with_address if _has_fin(each)}


def _has_fin(line: Line) -> bool:
    flags = line["summary"].split("/ Raw")[0].rstrip().rpartition(" ")[2]
    return "F" in flags


@PATHS
def test_what_is_dropped_has_its_reason(bed: Testbed, path: str) -> None:
    with tracing(bed, "--json", "--count", "4", "icmp and dropped") as trace:
        namespace = sender(bed, path)
        for family in FAMILIES:
            ping.unanswered(namespace, family.far(DROPPED), count=1)
            ping.refused(namespace, family.far(REJECTED), count=1)
        lines = ended(trace)
    found = [
        (line["destination"], line["verdict"], line["reason"], line["rule"], line["policy"])
        for line in lines
    ]
    assert found == [
        expected
        for family in FAMILIES
        for expected in (
            (family.far(DROPPED), "drop", "drop", rule_of(family, DROPPED), "drop"),
            (family.far(REJECTED), "reject", "rejected", rule_of(family, REJECTED), "reject"),
        )
    ]


def test_the_routers_own_answers_are_shown(bed: Testbed) -> None:
    either = " or ".join(
        f"host {family.far(REPLIED)} or rule {rule_of(family, REJECTED)}" for family in FAMILIES
    )
    with tracing(bed, "--json", "--count", "8", either) as trace:
        for family in FAMILIES:
            ping.answered(bed.client, family.far(REPLIED), count=1)
            ping.refused(bed.client, family.far(REJECTED), count=1)
        lines = ended(trace)
    found = [(line["direction"], line["verdict"], line["policy"]) for line in lines]
    assert found == 2 * [
        *(("out", "reply", "reply"), ("in", "reply", "reply")),
        *(("out", "reject", "reject"), ("in", "reply", "reject")),
    ]


def test_a_file_of_both_paths_opens_with_its_comments(
    bed: Testbed, family: Family, tmp_path: Path
) -> None:
    file, addresses = tmp_path / "trace.pcapng", (family.far(HOME + 4), family.far(HOME + 5))
    words = f"icmp and (host {addresses[0]} or host {addresses[1]} or rule 1 or rule 2)".split()
    with tracing(bed, "--pcap", str(file), "--count", "5", *words) as trace:
        ping.answered(bed.client, addresses[0], count=1)
        ping.answered(bed.router, addresses[1], count=1)
        ping.unanswered(bed.client, family.far(DROPPED), count=1)
        assert trace.wait() == 0, trace.report()
        text = trace.stdout.splitlines()
    fields = "frame.comment", "frame.len", "frame.cap_len"
    command = "tshark", "-r", str(file), "-T", "fields", *(f"-e{each}" for each in fields)
    rows = [line.split("\t") for line in bed.router.run(*command).stdout.splitlines()]
    rule, number = rule_of(family, DROPPED), rule_of(family, HOME)
    assert len(rows) == len(text) == 5
    for line, (comment, length, captured) in zip(text, rows, strict=True):
        assert line.endswith(f" | {comment}")
        assert length == captured == ("84" if family.version == 4 else "104")
    assert rows[0][0].startswith(f"forward, rule {number}: home, by eth0, relayed, source becomes")
    assert rows[1][0].startswith(f"forward, rule {number}: home, by eth0, relayed, was sent to")
    assert rows[2][0] == rows[3][0] == f"forward, rule {number}: home, by eth0, direct, unchanged"
    assert rows[4][0] == f"drop (drop), rule {rule}: drop"


def test_a_flood_is_counted_where_it_is_not_shown(bed: Testbed, family: Family) -> None:
    """Shown and left out together are all that was sent, and answered."""
    address, sent = family.far(HOME + 6), 10_000
    with tracing(bed, "--json", "icmp and host", address) as trace:
        flood = "ping", "-q", "-f", "-l", "200", "-c", str(sent), "-w", "60", address
        totals = ping.SUMMARY.search(bed.client.run(*flood, timeout=90).stdout)
        assert totals
        transmitted, received = int(totals[1]), int(totals[2])
        ends = []

        def last_is_shown() -> bool:
            ends.append(ping.answered(bed.client, address, "-s", "1000", count=1))
            return int(lines_of(trace)[-1]["length"]) > 1000

        wait_until(last_is_shown, "the end of the flood", detail=lambda: trace.stderr)
        assert trace.stop(signal.SIGINT) == 0
        shown, left_out = _totals(trace.stderr)
        assert shown == len(lines_of(trace))
    assert left_out > 0
    most = 2 * transmitted + 4 * len(ends)  # an answer may come when ping has ended
    assert transmitted + received <= shown + left_out <= most


def _totals(text: str) -> tuple[int, int]:
    last = text.splitlines()[-1].split(": ")[1].replace(",", "").split()
    return int(last[0]), int(last[2])


def test_answers_that_cannot_match_are_refused_in_the_kernel(bed: Testbed) -> None:
    """While a flood of each family leaves by home."""
    filters = "policy office", "rule 1 or rule 2", "policy home and port 443"
    with ExitStack() as stack:
        traces = [stack.enter_context(tracing(bed, words)) for words in (*filters, "policy home")]
        for family in FAMILIES:
            flood = "ping", "-q", "-f", "-l", "100", "-c", "2000", "-w", "20"
            bed.router.run(*flood, family.far(HOME + 8))
            assert packets_handed_to(traces[-1]) >= 2000, family
        assert max(map(packets_handed_to, traces[:-1])) < 100, "others' packets at most"
        for trace in traces[:-1]:
            assert trace.stop(signal.SIGINT) == 0
            assert trace.stderr.endswith("0 packets\n")


def test_an_interface_that_comes_back_with_another_index_is_followed(
    bed: Testbed, family: Family
) -> None:
    address = family.far(OFFICE + 8)
    with tracing(bed, "--json", "policy office and icmp") as trace:
        before = _index_of(bed, "wg0")
        bed.close_tunnel()
        bed.open_tunnel()
        add_bare_routes(bed)
        assert _index_of(bed, "wg0") != before

        def has_come_directly() -> bool:
            ping.answered(bed.router, address, count=1)
            found = [(line["direction"], line["path"]) for line in lines_of(trace)]
            return ("in", "direct") in found

        wait_until(
            has_come_directly, "an answer that came by the new interface", detail=trace.report
        )
        assert trace.stop(signal.SIGINT) == 0


def _index_of(bed: Testbed, interface: str) -> int:
    return int(bed.router.run("cat", f"/sys/class/net/{interface}/ifindex").stdout)


def test_what_cannot_be_traced_is_said(bed: Testbed, tmp_path: Path) -> None:
    for words, status, fragment in (
        (("hots", "192.0.2.1"), 2, "did you mean"),
        (("host", "here"), 2, "host cannot be"),
        (("tcp", "--count", "0"), 2, "--count cannot be '0'"),
        (("policy", "hone"), 1, "did you mean 'home'"),
        (("rule", "99"), 1, "the last one is 10"),
        (("tcp", "--pcap", str(tmp_path / "no" / "file")), 1, "cannot be written"),
    ):
        refused = bed.router.run(PROGRAM, "trace", *words, check=False)
        assert refused.returncode == status
        assert fragment in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_it_decodes_without_the_rights_of_root(bed: Testbed) -> None:
    with tracing(bed, "icmp") as trace:
        status = Path(f"/proc/{trace.pid}/status").read_text()
        assert "\nUid:\t0" not in status
        assert "\nCapEff:\t0000000000000000\n" in status
        assert trace.stop(signal.SIGINT) == 0
        assert trace.stderr.endswith("0 packets\n")


def test_without_rights_to_capture_the_rest_is_shown(bed: Testbed, family: Family) -> None:
    """The control socket is root's; capturing is another right."""
    address = family.far(HOME + 7)
    without = "setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"
    process = bed.router.start(
        *without, PROGRAM, "trace", "--json", "--count", "2", "icmp and host", address
    )
    try:
        process.wait_for_output(f"tracing {TUN}")
        assert "answers of the direct path are not shown" in process.stderr
        ping.answered(bed.router, address, count=2)
        lines = ended(process)
    finally:
        process.close()
    assert [line["direction"] for line in lines] == ["out", "out"]
