"""The pages that are run, and what each takes for granted beside the network of the tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from tests.e2e.coexistence import Within
from tests.e2e.documents.engine import docker_stand_in
from tests.e2e.documents.vpns import openconnect_stand_in, openvpn_server, wg_quick_peer
from tests.e2e.netns import Namespace
from tests.e2e.proxies import microsocks, started
from tests.e2e.second_uplink import GATEWAY, UPLINK, second_uplink
from tests.e2e.test_selftest import NO_TUN
from tests.e2e.testbed import Testbed

SetUp = Callable[[Testbed, Path], AbstractContextManager[Namespace | None]]
"""Gives the place of the router's commands, where that is not the router's namespace as it is. The
programs in `bin` of the directory come before all others."""

Docker = Callable[[Testbed, Path], AbstractContextManager[None]]


def nothing(_bed: Testbed, _directory: Path) -> AbstractContextManager[None]:
    return nullcontext()


def a_second_vpn(bed: Testbed, _directory: Path) -> AbstractContextManager[None]:
    """Its interface is eth1, with a default route of its own."""
    return _with_default_route(bed)


@contextmanager
def _with_default_route(bed: Testbed) -> Iterator[None]:
    with second_uplink(bed):
        bed.router.ip(f"route add default via {GATEWAY[4]} dev {UPLINK} metric 900")
        yield


@contextmanager
def a_proxy(bed: Testbed, directory: Path) -> Iterator[None]:
    """On the home gateway, and a web server behind it."""
    _greeting(directory)
    with microsocks(bed.gw, 1080), started(bed.far, 8000, *_serving(directory, 8000)):
        yield


def _greeting(directory: Path) -> None:
    (directory / "web").mkdir()
    (directory / "web" / "greeting").write_text("hello\n", encoding="utf-8")


def _serving(directory: Path, port: int) -> tuple[str, ...]:
    options = ("--directory", str(directory / "web"), str(port))
    return (sys.executable, "-m", "http.server", *options)


def a_published_list(_bed: Testbed, directory: Path) -> AbstractContextManager[None]:
    """cloud.txt, with networks of a provider."""
    networks = [f"100.{64 + number // 256}.{number % 256}.0/25" for number in range(10_000)]
    (directory / "cloud.txt").write_text("\n".join(["198.51.100.0/24", *networks, ""]))
    (directory / "lists").mkdir()
    return nullcontext()


@contextmanager
def other_programs(
    bed: Testbed, directory: Path, docker: Docker = docker_stand_in
) -> Iterator[Namespace]:
    """The far ends of a tunnel of wg-quick and of one of OpenVPN; Docker, its container and a host
    that it asks."""
    _greeting(directory)
    with (
        wg_quick_peer(bed, directory) as place,
        openvpn_server(bed, directory),
        docker(bed, directory),
        started(bed.far, 8000, *_serving(directory, 8000)),
    ):
        yield place


@contextmanager
def a_tunnel_that_goes(bed: Testbed, _directory: Path) -> Iterator[None]:
    """The page takes it down."""
    yield
    bed.close_tunnel()
    bed.open_tunnel()


@contextmanager
def without_tun_device(bed: Testbed, _directory: Path) -> Iterator[Namespace]:
    script = f"{NO_TUN} && echo mounted && exec sleep infinity"
    holder = bed.router.start("unshare", "--mount", "sh", "-c", script)
    try:
        holder.wait_for_output("mounted")
        yield Within(bed.router, holder)
    finally:
        holder.close()


PAGES: Final[Mapping[str, SetUp]] = {
    "../README.md": nothing,
    "first-steps.md": nothing,
    "explain.md": nothing,
    "troubleshooting.md": nothing,
    "recipes/company-and-home.md": nothing,
    "recipes/two-vpns.md": a_second_vpn,
    "recipes/all-but-the-lan.md": nothing,
    "recipes/some-by-socks5.md": a_proxy,
    "recipes/a-long-list.md": a_published_list,
    "recipes/a-gateway.md": nothing,
    "recipes/beside-others.md": other_programs,
    "recipes/as-a-service.md": nothing,
    "flows.md": a_tunnel_that_goes,
    "selftest.md": without_tun_device,
    "status.md": nothing,
    "trace.md": nothing,
    "web.md": nothing,
    "from/wg-quick.md": wg_quick_peer,
    "from/vpn-slice.md": openconnect_stand_in,
}
"""What each page takes for granted beside the network of the tests."""
