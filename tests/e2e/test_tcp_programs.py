"""Real programs over TCP: curl, iperf3, ssh and traceroute, by the router and without it."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.hops import hops as traced
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.proxies import sshd
from tests.e2e.tcp_bed import BARE, HOME, RULES, VPN
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import relayed
from tests.e2e.wait import wait_until

pytestmark = [
    WITH_AND_WITHOUT_OFFLOADS,
    pytest.mark.rules(relayed(RULES)),
    pytest.mark.usefixtures("router"),
]

HTTP_PORT, IPERF_PORT = 8080, 5201
BARE_OFFICE = 0x51
"""A host by a route of the router's machine alone."""
DOWNLOAD = 16 << 20
"""More than all buffers of a connection together."""
IPERF_LEAST = 1 << 20
"""Bytes in a second, on the slowest machine."""


@pytest.fixture(params=[HOME, VPN, BARE], ids=["home", "vpn", "bare"])
def host(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


def listening(namespace: Namespace, port: int, server: Process) -> None:
    """Waits until the server listens."""
    wait_until(
        lambda: f":{port} " in namespace.run("ss", "-Hltn").stdout,
        f"port {port}",
        detail=server.report,
    )


# curl


@pytest.fixture(scope="module")
def file(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One behind an HTTP server on the far host; its digest."""
    directory = tmp_path_factory.mktemp("www")
    data = random.Random(5).randbytes(DOWNLOAD)
    Path(directory, "file").write_bytes(data)
    server = bed.far.start(
        *(sys.executable, "-m", "http.server", "--bind", "::", "--directory", str(directory)),
        str(HTTP_PORT),
    )
    listening(bed.far, HTTP_PORT, server)
    yield hashlib.sha256(data).hexdigest()
    server.close()


def test_curl_of_a_large_file(
    bed: Testbed, family: Family, host: int, file: str, tmp_path: Path
) -> None:
    name = family.far(host)
    url = f"http://{f'[{name}]' if family.version == 6 else name}:{HTTP_PORT}/file"
    got = tmp_path / "got"
    bed.client.run("curl", "-sS", "--fail", "-o", str(got), url, timeout=120)
    with got.open("rb") as opened:
        assert hashlib.file_digest(opened, "sha256").hexdigest() == file


# iperf3


@pytest.fixture
def iperf(bed: Testbed) -> Iterator[None]:
    """For one test: a server that has not finished the last test refuses the next as busy."""
    server = bed.far.start("iperf3", "-s", "-p", str(IPERF_PORT))
    listening(bed.far, IPERF_PORT, server)
    yield
    server.close()


@pytest.mark.parametrize(
    "options",
    [("-b", "100M"), ("-P", "8", "--reverse", "-b", "12M")],
    ids=["up", "8 down"],
)
def test_iperf3(
    bed: Testbed, family: Family, host: int, iperf: None, options: tuple[str, ...]
) -> None:
    """For a time: an amount may be sent and declared done before its server has read any of it. The
    two ends count at different moments, so that either may have counted more than the other. At a
    limited rate: for all that a machine can send it would leave nothing to other tests."""
    command = ("iperf3", "-J", "-c", family.far(host), "-t", "1", *options)
    found = json.loads(bed.client.run(*command, timeout=60).stdout)
    assert "error" not in found, found["error"]
    sent, received = (found["end"][each]["bytes"] for each in ("sum_sent", "sum_received"))
    assert min(sent, received) >= IPERF_LEAST


# ssh


@pytest.fixture(scope="module")
def login(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """An sshd on the far host, and the options with which ssh logs in there."""
    with sshd(bed.far, tmp_path_factory.mktemp("ssh")) as options:
        yield options


def test_an_ssh_session(bed: Testbed, family: Family, host: int, login: tuple[str, ...]) -> None:
    """Interactive: the shell answers line by line, and its exit status arrives."""
    done = bed.client.run(
        *("ssh", "-tt", *login),
        f"root@{family.far(host)}",
        check=False,
        stdin="echo session $((40 + 2))\nexit 7\n",
    )
    assert done.returncode == 7, done.stderr
    assert "session 42" in done.stdout


# traceroute


def hops(client: Namespace, address: str, port: int) -> list[str]:
    """The routers that answer traceroute -T, the destination last."""
    version = "-6" if ":" in address else "-4"
    command = "traceroute", version, "-T", "-n", "-q1", "-w20", "-m8", "-p", str(port)
    return [hop.address for hop in traced(client, address, *command)]


@pytest.mark.parametrize("port", [HTTP_PORT, 9], ids=["open", "closed"])
def test_traceroute_by_the_home_network(bed: Testbed, family: Family, file: str, port: int) -> None:
    bare = hops(bed.client, family.far(BARE), port)
    assert bare == [family.lan, family.gateway, family.far(BARE)]
    ours = hops(bed.client, family.far(HOME), port)
    assert ours == [family.lan, family.tun_peer, family.gateway, family.far(HOME)]


@pytest.mark.parametrize("port", [HTTP_PORT, 9], ids=["open", "closed"])
def test_traceroute_by_the_vpn(bed: Testbed, family: Family, file: str, port: int) -> None:
    ours = hops(bed.client, family.far(VPN), port)
    assert ours == [family.lan, family.tun_peer, family.vpn_wg0, family.far(VPN)]


@pytest.mark.parametrize("port", [HTTP_PORT, 9], ids=["open", "closed"])
def test_traceroute_from_the_routers_own_machine(
    bed: Testbed, family: Family, file: str, port: int
) -> None:
    by_vpn = f"{family.far(BARE_OFFICE)}/{family.host_bits} dev wg0"
    bed.router.ip(f"route add {by_vpn}")
    try:
        for through, bare in ((HOME, BARE), (VPN, BARE_OFFICE)):
            *routers, last = hops(bed.router, family.far(bare), port)
            assert len(routers) == 1
            assert last == family.far(bare)
            ours = hops(bed.router, family.far(through), port)
            assert ours == [family.tun_peer, *routers, family.far(through)]
    finally:
        bed.router.ip(f"route del {by_vpn}")
