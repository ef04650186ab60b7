"""Real programs through the macOS code for the TUN, sockets and waiting; see utun_router.

What it does is compared with the bare path. Only relayed packets pass it. Errors about datagrams,
which arrive at raw ICMP sockets alone, are held to the tests of those that have an error queue, all
but those that no ICMP error reports: of a neighbour that does not answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import ping, test_udp_errors_outward
from tests.e2e.hops import hops
from tests.e2e.netns import Namespace
from tests.e2e.snapshot import state
from tests.e2e.test_tcp_programs import iperf  # noqa: F401 - a fixture
from tests.e2e.test_udp_errors import (
    fast_neighbour_failure,  # noqa: F401 - a fixture
    test_a_closed_port_refuses_at_once,  # noqa: F401 - here too
    test_a_filtered_port_names_the_sender_of_the_error,  # noqa: F401
    test_an_unreachable_host_is_reported_by_the_router_before_it,  # noqa: F401
    test_req_12_errors_end_no_mapping,  # noqa: F401
    test_req_13_a_narrow_path_is_reported_with_its_mtu,  # noqa: F401
    test_req_13_the_mtu_of_the_outbound_is_reported,  # noqa: F401
    test_time_exceeded_comes_from_the_real_hop,  # noqa: F401
)
from tests.e2e.test_udp_errors_outward import (
    test_a_connected_server_gets_the_same_errno,  # noqa: F401 - here too
)
from tests.e2e.test_udp_traceroute import test_the_real_hops  # noqa: F401 - here too
from tests.e2e.testbed import V4, Family, Testbed
from tests.e2e.tunrouter import TUN, WITH_UTUN, Tunrouter, relayed, running
from tests.e2e.udp import BARE, DNS, HOME, OFFICE, PATHS, RULES, exchange
from tests.e2e.wait import wait_until

pytestmark = pytest.mark.usefixtures("udp_servers", "router")

HTTP_PORT = 8081
DOWNLOAD = 4 << 20
IPERF_LEAST = 1 << 16
"""Bytes each way in a second, on a machine that is busy too."""
SIZES = [0, 1, 1400, 8000, 65507]
HOSTS = pytest.mark.parametrize("host", [HOME, OFFICE], ids=["home", "office"])


@pytest.fixture(scope="module")
def router(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunrouter]:
    directory = tmp_path_factory.mktemp("rules")
    with running(bed.router, directory, relayed(RULES), program=WITH_UTUN) as started:
        yield started


@pytest.fixture(scope="module")
def file(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Behind an HTTP server on the far host; its digest."""
    directory = tmp_path_factory.mktemp("www")
    data = random.Random(30).randbytes(DOWNLOAD)
    Path(directory, "file").write_bytes(data)
    server = bed.far.start(
        *(sys.executable, "-m", "http.server", "--bind", "::", "--directory", str(directory)),
        str(HTTP_PORT),
    )
    wait_until(
        lambda: f":{HTTP_PORT} " in bed.far.run("ss", "-Hltn").stdout,
        f"port {HTTP_PORT}",
        detail=server.report,
    )
    yield hashlib.sha256(data).hexdigest()
    server.close()


def as_bare(text: str, family: Family, host: int) -> str:
    """What a program has printed about a host, as if it were the one of the bare path."""
    return text.replace(family.far(host), family.far(BARE))


@HOSTS
@pytest.mark.parametrize("size", [56, 4000])
def test_ping(bed: Testbed, family: Family, host: int, size: int) -> None:
    """In fragments too: the fragment field of a raw packet is in host order."""
    # The first that are too long for the path only cause errors (IPv6).
    ping.answered(bed.client, family.far(host), "-s", str(size))
    ours = ping.answered(bed.client, family.far(host), "-s", str(size))
    assert [length for length, _ in ours.replies] == [size + 8] * 3
    assert not ours.duplicates


def test_an_error_about_a_ping(bed: Testbed, family: Family) -> None:
    """Whose quote xnu delivers with the length swapped. The router and its TUN are two hops, where
    the bare path has one."""
    ours = ping.refused(bed.client, family.far(HOME), "-t", "3", count=1)
    bare = ping.refused(bed.client, family.far(BARE), "-t", "2", count=1)
    assert as_bare(ours.timeless, family, HOME) == bare.timeless
    assert f"From {family.gateway}" in ours.text


def test_traceroute(bed: Testbed, family: Family) -> None:
    command = "traceroute", f"-{family.version}", "-I", "-n", "-q1", "-w20", "-m8"
    bare = [hop.address for hop in hops(bed.client, family.far(BARE), *command)]
    ours = [hop.address for hop in hops(bed.client, family.far(HOME), *command)]
    assert bare == [family.lan, family.gateway, family.far(BARE)]
    assert ours == [family.lan, family.tun_peer, family.gateway, family.far(HOME)]


@HOSTS
def test_datagrams_of_every_size(bed: Testbed, family: Family, host: int) -> None:
    exchange(bed.client, family.far(host), sends=[1400, 1400], expect=0)
    ours = exchange(bed.client, family.far(host), sends=SIZES).found
    assert [one["length"] for one in ours] == SIZES
    assert {tuple(one["sender"]) for one in ours} == {(family.far(host), 7)}


def test_dig(bed: Testbed, family: Family) -> None:
    command = ("dig", "+short", "+tries=1", "+time=10", "-p", str(DNS))
    found = {
        host: bed.client.run(*command, f"@{family.far(host)}", "example.com", "A").stdout
        for host in (HOME, OFFICE, BARE)
    }
    assert found[HOME] == found[OFFICE] == found[BARE]


@HOSTS
def test_curl(bed: Testbed, family: Family, host: int, file: str, tmp_path: Path) -> None:
    name, got = family.far(host), tmp_path / "got"
    url = f"http://{f'[{name}]' if family.version == 6 else name}:{HTTP_PORT}/file"
    bed.client.run("curl", "-sS", "--fail", "-o", str(got), url, timeout=120)
    with got.open("rb") as opened:
        assert hashlib.file_digest(opened, "sha256").hexdigest() == file


@pytest.mark.usefixtures("iperf")
def test_iperf3(bed: Testbed, family: Family) -> None:
    """Both ways at once, at a limited rate."""
    options = ("--bidir", "-P", "4", "-b", "20M", "-t", "1")
    done = bed.client.run("iperf3", "-J", "-c", family.far(OFFICE), *options, timeout=60)
    found = json.loads(done.stdout)
    assert "error" not in found, found["error"]
    ends = "sum_sent", "sum_received", "sum_sent_bidir_reverse", "sum_received_bidir_reverse"
    assert min(found["end"][each]["bytes"] for each in ends) >= IPERF_LEAST


def test_a_refused_connection(bed: Testbed, family: Family) -> None:
    def refused_by(host: int) -> tuple[int, str]:
        name = family.far(host)
        url = f"http://{f'[{name}]' if family.version == 6 else name}:9/"
        done = bed.client.run("curl", "-sS", url, check=False)
        return done.returncode, as_bare(done.stderr.rpartition(":")[2], family, host)

    assert refused_by(HOME) == refused_by(BARE)
    assert refused_by(HOME)[0] == 7


@PATHS
def test_a_late_answer_is_refused(
    bed: Testbed, sender: Namespace, family: Family, through: int, bare: int
) -> None:
    """The server gets all of the error: its sender, its kind, and its quote."""
    size = 1200
    test_udp_errors_outward.test_a_late_answer_is_refused(bed, sender, family, through, bare, size)


@pytest.mark.parametrize("how", ["signal", "killed"])
def test_its_end(bed: Testbed, router: Tunrouter, how: str, tmp_path: Path) -> None:
    """Last: the module's router has ended then."""
    if router.running:
        assert router.stop().exit_code == 0
    before = state(bed.router)
    with running(bed.router, tmp_path, relayed(RULES), program=WITH_UTUN) as started:
        ping.answered(bed.client, V4.far(HOME), count=1)
        if how == "signal":
            assert started.stop(signal.SIGINT).exit_code == 0
        else:
            os.killpg(os.getpgid(started.pid), signal.SIGKILL)
        wait_until(lambda: not started.pids(), "all of its processes to end")
    assert not bed.router.has_interface(TUN)
    assert state(bed.router) == before
