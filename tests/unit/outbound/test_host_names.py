"""Names of proxies, resolved by a program in memory or by the real one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config.model import Proxy
from router.outbound.host_names import HostNames
from router.outbound.socks5.addresses import ProxyAddresses
from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.platform.base.processes import Pipe
from router.platform.base.starts import OWN_BURST, START_BURST, STARTS_PER_SECOND
from router.platform.host_names import Resolved, parse, resolve
from router.platform.privileged.arguments import check_host_name
from tests.unit.examples import examples

ONE, TWO = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))


class MemoryPipe:
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [*pieces, b""]
        self.closed = False

    def fileno(self) -> int:
        return 7

    def read(self) -> bytes:
        return self._pieces.pop(0)

    def close(self) -> None:
        self.closed = True


class MemoryGuard:
    """Starts programs in memory, and is the loop that reads from them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.hosts: list[str] = []
        self.watched: dict[HasFileno, Callable[[], None]] = {}
        self._done: list[Callable[[Pipe | PlatformError], None]] = []
        self._later: list[tuple[float, Callable[[], None]]] = []

    def start(self, host: str, done: Callable[[Pipe | PlatformError], None]) -> None:
        self.hosts.append(host)
        self._done.append(done)

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None:
        self.watched[source] = readable

    def forget(self, source: HasFileno) -> None:
        del self.watched[source]

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self._later.append((delay, callback))

    def run_timers(self, delay: float) -> None:
        due = [callback for after, callback in self._later if after <= delay]
        self._later = [each for each in self._later if each[0] > delay]
        for callback in due:
            callback()

    def answer(self, *pieces: bytes) -> MemoryPipe:
        pipe = MemoryPipe(list(pieces))
        self._done.pop(0)(pipe)
        for _ in range(len(pieces) + 1):
            self.watched[pipe]()
        self.run_timers(0.0)
        return pipe

    def refuse(self, why: str) -> None:
        self._done.pop(0)(PlatformError(why))


@pytest.fixture
def guard() -> MemoryGuard:
    return MemoryGuard()


@pytest.fixture
def names(guard: MemoryGuard) -> HostNames:
    return HostNames(guard.start, guard)


def test_one_name_at_a_time_is_resolved(guard: MemoryGuard, names: HostNames) -> None:
    found: list[tuple[str, Resolved]] = []
    for host in ("a.example", "b.example"):
        names.resolve(host, lambda resolved, host=host: found.append((host, resolved)))  # type: ignore[misc]
    assert guard.hosts == ["a.example"]
    pipe = guard.answer(b"=192.0", b".2.1 192.0.2.2")
    assert pipe.closed
    assert not guard.watched
    assert found == [("a.example", Resolved((ONE, TWO)))]
    assert guard.hosts == ["a.example", "b.example"]
    guard.refuse("too often")
    assert found[1:] == [("b.example", Resolved((), "too often"))]
    guard.run_timers(60.0)
    assert len(found) == 2


def test_more_names_than_the_guard_allows_at_once_wait(
    guard: MemoryGuard, names: HostNames
) -> None:
    found: list[Resolved] = []
    for number in range(START_BURST + 1):
        names.resolve(f"{number}.example", found.append)
    for _ in range(OWN_BURST):
        guard.answer(b"=192.0.2.1")
    assert len(found) == len(guard.hosts) == OWN_BURST
    guard.now += 1 / STARTS_PER_SECOND
    guard.run_timers(1 / STARTS_PER_SECOND)
    assert len(guard.hosts) == OWN_BURST + 1
    guard.answer(b"=192.0.2.1")
    assert found == [Resolved((ONE,))] * (OWN_BURST + 1)


def test_a_resolver_that_never_ends_is_given_up(guard: MemoryGuard, names: HostNames) -> None:
    found: list[Resolved] = []
    names.resolve("a.example", found.append)
    pipe = MemoryPipe([])
    guard._done.pop(0)(pipe)
    guard.run_timers(60.0)
    assert pipe.closed
    assert found == [Resolved((), "the system's resolver has not answered")]


def test_the_address_that_has_worked_stays_the_first(guard: MemoryGuard, names: HostNames) -> None:
    addresses = ProxyAddresses(Proxy("a.example", 1080), names)
    done = list[bool]()
    resolve_again = partial(addresses.resolve, lambda: done.append(True))
    resolve_again()
    guard.answer(b"=192.0.2.1 192.0.2.2")
    assert addresses.all == (ONE, TWO)
    addresses.worked(TWO)
    resolve_again()
    guard.answer(b"=192.0.2.1 192.0.2.2")
    assert addresses.all == (TWO, ONE)
    resolve_again()
    guard.answer(b"!it has gone")
    assert addresses.all == (TWO, ONE)
    assert addresses.fault == "the name a.example cannot be resolved: it has gone"
    assert done == [True] * 3


def test_an_address_is_not_resolved(guard: MemoryGuard, names: HostNames) -> None:
    done = list[bool]()
    addresses = ProxyAddresses(Proxy("2001:db8::1", 1080), names)
    addresses.resolve(lambda: done.append(True))
    assert done == [True]
    assert len(addresses.all) == 1
    assert not guard.hosts


@given(line=st.binary(max_size=60) | st.binary(max_size=40).map(lambda data: b"=" + data))
@settings(max_examples=examples(200))
def test_any_line_is_addresses_or_a_fault(line: bytes) -> None:
    found = parse(line)
    assert all(len(address) in (4, 16) for address in found.addresses)


def test_the_program_resolves_a_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "router.platform.host_names", "localhost"],
        capture_output=True,
        check=True,
    )
    loopback = {bytes((127, 0, 0, 1)), bytes(15) + b"\x01"}
    assert set(parse(done.stdout).addresses) <= loopback
    assert parse(done.stdout).addresses
    assert parse(resolve("no-such-host.invalid")).fault


@pytest.mark.parametrize("value", ["", "-h", "192.0.2.1", "a b", "a" * 254, 7, None, "a\n"])
def test_the_guard_resolves_names_alone(value: object) -> None:
    with pytest.raises(PlatformError, match="is not a host name"):
        check_host_name(value)
