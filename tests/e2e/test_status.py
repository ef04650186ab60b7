"""`tunrouter status` reports what has happened."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from random import Random

import pytest

from tests.e2e import ping
from tests.e2e.status import (
    CONNECTED,
    DOWNLOADED,
    DROP,
    HOME,
    PING,
    POLICIES,
    QUERIED,
    REJECT,
    REPLY,
    RULES,
    VPN,
    Counted,
    counts,
    read_status,
)
from tests.e2e.tcp_bed import conversation
from tests.e2e.testbed import V4, V6, Family, Testbed
from tests.e2e.tunrouter import PROGRAM, TUN, Tunrouter
from tests.e2e.udp import DNS
from tests.e2e.wait import wait_until

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("udp_servers", "router")]


def test_identity_and_policies(bed: Testbed, router: Tunrouter) -> None:
    status = read_status(bed.router)
    assert status["pid"] in router.pids()
    assert status["tun"] == TUN
    assert Path(status["rules_file"]).read_text() == RULES
    assert 0 < status["uptime_s"] <= read_status(bed.router)["uptime_s"]
    states = {name: each["state"] for name, each in status["policies"].items()}
    assert states == dict.fromkeys((*POLICIES, "bypass"), "up")
    interfaces = [status["policies"][name]["interface"] for name in ("home", "office", "reply")]
    assert interfaces == ["eth0", "wg0", None]
    assert [rule["index"] for rule in status["rules"]] == list(range(1, 2 * len(POLICIES) + 1))
    lines = RULES.splitlines()
    assert all(rule["text"] in lines[rule["line"] - 1] for rule in status["rules"])


@pytest.mark.parametrize("host", [HOME, VPN], ids=["home", "office"])
def test_pings_are_counted(bed: Testbed, family: Family, host: int) -> None:
    counted, size = Counted(bed, family, host), 7 * PING[family.version]
    running_ping = ping.start(bed.client, family.far(host), "-c", "7", "-l", "7", "-W", "20")
    try:
        wait_until(lambda: counted.flows == 1, "its flow")
        assert read_status(bed.router)["flows"]["icmp"] >= 1
        assert ping.read(running_ping).received == 7
    finally:
        running_ping.close()
    assert counted.since() == counts(7, size, 7, size, flows=1)


def test_what_the_router_answers_is_counted(bed: Testbed, family: Family) -> None:
    size = 3 * PING[family.version]
    for host, came_in in ((REPLY, 3), (DROP, 0), (REJECT, 0)):
        counted, before = Counted(bed, family, host), read_status(bed.router)["drops"]
        ping.unanswered(bed.client, family.far(host))
        assert counted.since() == counts(3, size, came_in, size if came_in else 0)
        drops = read_status(bed.router)["drops"]
        for reason, number in (("drop", 3 * (host == DROP)), ("rejected", 3 * (host == REJECT))):
            assert drops.get(reason, 0) - before.get(reason, 0) == number


def test_dns_queries_are_counted(bed: Testbed, family: Family) -> None:
    counted = Counted(bed, family, QUERIED)
    for _ in range(3):
        bed.client.run(
            *("dig", "+short", "+tries=1", "+time=10", "+noedns", "-p", str(DNS)),
            *(f"@{family.far(QUERIED)}", "example.com", "A"),
        )
    since = counted.since()
    assert (since["packets_out"], since["packets_in"], since["rule packets"]) == (3, 3, 6)
    headers = 28 if family.version == 4 else 48
    query = since["bytes_out"] // 3 - headers
    assert query * 3 + headers * 3 == since["bytes_out"]
    assert since["bytes_in"] == since["bytes_out"] + 3 * 16, "an answer repeats its query"
    assert counted.flows == 3
    assert read_status(bed.router)["flows"]["udp"] >= 3


def test_connections_are_counted(bed: Testbed, family: Family) -> None:
    counted, size = Counted(bed, family, CONNECTED), 1 << 20
    with conversation(bed, family, CONNECTED) as pair:
        pair.server.sendall(b"hello")
        assert pair.client.recv(5) == b"hello"
        assert counted.flows == read_status(bed.router)["flows"]["tcp"] == 1
        sender = threading.Thread(target=pair.client.sendall, args=(bytes(size),))
        sender.start()
        received = 0
        while received < size:
            received += len(pair.server.recv(1 << 16))
        sender.join()
    wait_until(lambda: counted.flows == 0, "the connection to be over")
    assert read_status(bed.router)["flows"]["tcp"] == 0
    since = counted.since()
    assert size < since["bytes_out"] < 1.5 * size, "lost segments are sent again"
    assert since["packets_out"] >= size / 65536
    assert 0 < since["bytes_in"] < size
    assert since["rule packets"] > since["packets_out"], "the answers of a flow are among them"


def test_a_download_is_counted_while_it_runs(bed: Testbed, tmp_path: Path) -> None:
    size = 20_000_000
    (tmp_path / "file").write_bytes(Random(6).randbytes(size))
    server = bed.far.start(
        *(sys.executable, "-m", "http.server", "8099", "--directory", str(tmp_path)),
    )
    counted = Counted(bed, V4, DOWNLOADED)
    download = None
    try:
        wait_until(lambda: ":8099 " in bed.far.run("ss", "-Hltn").stdout, "the server")
        download = bed.client.start(
            *("curl", "-sS", "--limit-rate", "5M", "-o", str(tmp_path / "got")),
            f"http://{V4.far(DOWNLOADED)}:8099/file",
        )

        def is_under_way() -> bool:
            since = counted.since()
            return size / 10 < since["bytes_in"] and since["rule flows"] == 1

        wait_until(is_under_way, "a part of it, and its flow")
        assert download.wait() == 0, download.report()
    finally:
        for process in filter(None, (download, server)):
            process.close()
    assert (tmp_path / "got").stat().st_size == size
    assert size < counted.since()["bytes_in"] < 1.5 * size


def test_text_output(bed: Testbed) -> None:
    shown = bed.router.run(PROGRAM, "status").stdout
    first, file, *_ = shown.splitlines()
    assert re.fullmatch(rf"pid \d+, TUN {TUN}, up .* s", first)
    assert file.startswith("rules  /")
    assert [line.split()[:4] for line in shown.splitlines() if line.startswith("office")] == [
        ["office", "up", "direct", "wg0"]
    ]
    assert f'{{cidr: "{V6.far(REJECT)}", policy: reject}}' in shown
