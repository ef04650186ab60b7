"""Fixtures of the end-to-end tests: the test bed, and the check for root.

The tests run in several processes side by side (pytest-xdist), file by file, so that a bed is made
once a file. What they share is the machine; of the system they may only touch what belongs to
namespaces of their own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from tests.e2e import netns
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, Family, Testbed, opened_testbed
from tests.e2e.tunrouter import PROGRAM, Tunrouter, running
from tests.e2e.udp import far_hosts

LONG = (
    "test_pages.py",
    "test_trace.py",
    "test_tcp_streams.py",
    "test_guard.py",
    "test_reconcile.py",
    "test_reload.py",
    "test_tcp_programs.py",
    "test_web.py",
    "test_guard_faults.py",
    "test_faults.py",
    "test_page.py",
    "test_utun_tcp.py",
    "test_direct_or_relayed.py",
    "test_coexistence_openvpn.py",
    "test_soak.py",
    "test_tcp_limits.py",
    "test_owners.py",
    "test_honest_hop.py",
    "test_teardown.py",
    "test_tcp_outcomes.py",
    "test_lost_flows.py",
)
"""The files that take longest: those that wait among those that compute."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rules(text): the rules file of the fixture `router`")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests fail at once without root: a skipped test would look like a passed one. Files that
    take long begin first, so that no process is left with one when the others are done."""
    if os.geteuid() != 0:
        raise pytest.UsageError(
            "the end-to-end tests need root: run `make e2e` (or `make check`, which needs none)"
        )
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))


def pytest_sessionstart(session: pytest.Session) -> None:
    """What killed runs left is removed first, by the process that starts the others; and whichever
    of them is interrupted or terminated cleans up."""
    if hasattr(session.config, "workerinput"):
        signal.signal(signal.SIGINT, _clean_up)
        signal.signal(signal.SIGTERM, _clean_up)
        return
    signal.signal(signal.SIGTERM, _interrupt)
    if os.geteuid() == 0:
        netns.sweep()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """As Ctrl-C at a terminal, which reaches all processes."""
    for child in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        os.kill(int(child), signal.SIGINT)
    raise KeyboardInterrupt


def _clean_up(number: int, frame: FrameType | None) -> None:
    """Once: a second signal must not interrupt the cleaning up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with opened_testbed() as opened:
        yield opened


@pytest.fixture(params=FAMILIES, ids=str)
def family(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found


@pytest.fixture(scope="module")
def offloads() -> bool:
    """Whether the router of a module uses offloads; see marks.WITH_AND_WITHOUT_OFFLOADS."""
    return True


@pytest.fixture(scope="module")
def program() -> tuple[str, ...]:
    """What a module's router is started by; another one overrides it."""
    return (PROGRAM,)


@pytest.fixture(scope="module")
def router(
    request: pytest.FixtureRequest,
    bed: Testbed,
    offloads: bool,
    program: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tunrouter]:
    """One router for a module, with the rules of its mark: `pytest.mark.rules(text)`."""
    mark = request.node.get_closest_marker("rules")
    assert mark is not None, f"{request.node.name} has no mark `rules`"
    (text,) = mark.args
    directory = tmp_path_factory.mktemp("rules")
    with running(bed.router, directory, text, offloads=offloads, program=program) as started:
        yield started


@pytest.fixture(scope="module")
def udp_servers(bed: Testbed) -> Iterator[None]:
    """The servers and packet filters of udp.far_hosts()."""
    with far_hosts(bed):
        yield


@pytest.fixture
def sender(bed: Testbed, router: Tunrouter, host: str) -> Namespace:
    """The namespace that sends the datagrams of a test with the parameters of udp.PATHS."""
    found: Namespace = getattr(bed, host)
    return found


@pytest.fixture(scope="module")
def strict_rp_filter(bed: Testbed) -> None:
    """rp_filter=1 on the outbound interfaces: the router has a value to change and to restore."""
    bed.router.sysctl(
        ipv4__conf__all__rp_filter=1, ipv4__conf__eth0__rp_filter=1, ipv4__conf__wg0__rp_filter=1
    )


@pytest.fixture
def reopened_tunnel(bed: Testbed) -> Iterator[None]:
    """After the test wg0 exists, also if the test has failed while it was closed."""
    yield
    if not bed.router.has_interface("wg0"):
        bed.open_tunnel()
