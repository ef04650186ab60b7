"""How much memory the guard takes for the largest requests that a router can send it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from router.platform.base.errors import PlatformError
from router.platform.linux.guard import MEMORY
from router.platform.linux.only_on_linux import prlimit
from router.platform.linux.system import GUARD
from router.platform.privileged.channel import SIZES
from router.platform.privileged.client import GuardClient
from router.platform.privileged.guard import LARGEST_REQUEST
from router.platform.privileged.prefix_records import MOST, RECORD

LABELS: Final[Any] = [[1500, None, []]]
FOR_JSON: Final = 100 << 20
"""Bytes of memory that a request without routes adds at most, see docs/limits.md."""
FOR_ROUTES: Final = 400 << 20
"""Bytes that one with the most routes adds."""
HEAD, TAIL = b'["nothing",{"a":[', b"]}]"


@pytest.fixture
def guard() -> Iterator[GuardClient]:
    """The guard's own program, without the rights of one, and without a TUN."""
    guard = GuardClient(GUARD, ())
    guard.call("nothing")
    yield guard
    guard._channel.close()
    guard._process.wait()


def peak(guard: GuardClient) -> int:
    """Bytes of memory that it has had at most."""
    status = Path(f"/proc/{guard._process.pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


def most_routes() -> bytes:
    """Of IPv6, whose numbers take the most memory."""
    return RECORD.pack(6, 128, 0, (0xFD << 120).to_bytes(16, "big")) * MOST


def test_its_address_space_is_limited(guard: GuardClient) -> None:
    limit, _ = prlimit(guard._process.pid, resource.RLIMIT_AS)
    assert limit == MEMORY


def test_json_of_the_largest_size(guard: GuardClient) -> None:
    """Made of whatever takes the most memory for a byte."""
    before = peak(guard)
    for unit in (b"[]", b"{}", b"0.1", b'"\xc4\x80"', b'{"a":[]}'):
        number = (LARGEST_REQUEST - len(HEAD) - len(TAIL)) // (len(unit) + 1)
        body = HEAD + b",".join([unit] * number) + TAIL
        guard._channel._connection.sendall(SIZES.pack(len(body), 0) + body)
        with pytest.raises(PlatformError, match="invalid request"):
            guard._receive()
    assert peak(guard) - before < FOR_JSON


def test_one_byte_more_than_the_largest_size_ends_it(guard: GuardClient) -> None:
    guard._channel._connection.sendall(SIZES.pack(LARGEST_REQUEST + 1, 0))
    with pytest.raises(PlatformError, match="the guard"):
        guard._receive()
    assert guard._process.wait() == 0


def test_the_most_routes(guard: GuardClient) -> None:
    before = peak(guard)
    with pytest.raises(PlatformError, match="no TUN device yet"):
        guard.call("reconcile", most_routes(), labels=LABELS)
    assert peak(guard) - before < FOR_ROUTES
    with pytest.raises(PlatformError, match=f"{MOST + 1} prefixes are more"):
        guard.call("add_routes", bytes(RECORD.size * (MOST + 1)), labels=LABELS)


@pytest.mark.parametrize("room", [16 << 20, 80 << 20], ids=("to-read-it", "to-carry-it-out"))
def test_a_request_for_which_there_is_no_memory(
    guard: GuardClient, room: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is refused, or the guard ends and says why."""
    status = Path(f"/proc/{guard._process.pid}/statm").read_text(encoding="ascii")
    limit = int(status.split()[0]) * resource.getpagesize() + room
    prlimit(guard._process.pid, resource.RLIMIT_AS, (limit, limit))
    with pytest.raises(PlatformError, match=r"not enough memory|start the router again"):
        guard.call("add_routes", most_routes(), labels=LABELS)
    guard._channel.close()
    assert guard._process.wait() == 0
    log = capfd.readouterr().err
    assert "Traceback" not in log
    assert not log or "free memory" in log
