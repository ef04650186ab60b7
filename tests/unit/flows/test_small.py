"""Addresses, the error limiter and the drop counters."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from router.flows.addresses import is_forwardable, is_host_source
from router.flows.drops import Drop, Drops
from router.flows.limiter import TokenBucket


@pytest.mark.parametrize(
    ("address", "source", "forwardable"),
    [
        ("10.0.0.1", True, True),
        ("198.51.100.1", True, True),
        ("0.0.0.0", False, False),
        ("127.0.0.1", False, False),
        ("169.254.1.1", False, True),
        ("224.0.0.251", False, False),
        ("239.255.255.250", False, False),
        ("240.0.0.1", False, True),
        ("255.255.255.255", False, False),
        ("fd00::1", True, True),
        ("2001:db8::1", True, True),
        ("::", False, False),
        ("::1", False, False),
        ("fe80::1", False, False),
        ("febf::1", False, False),
        ("fec0::1", True, True),
        ("ff02::16", False, False),
    ],
)
def test_kinds_of_addresses(address: str, source: bool, forwardable: bool) -> None:
    packed = ip_address(address).packed
    assert is_host_source(packed) == source
    assert is_forwardable(packed) == forwardable


def test_errors_come_in_a_burst_and_then_at_a_rate() -> None:
    bucket = TokenBucket(rate=8, burst=3)
    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bucket.take(100.125), bucket.take(100.125)] == [True, False]
    assert sum(bucket.take(200.0) for _ in range(10)) == 3


def test_the_delay_of_a_bucket_is_until_the_next_is_allowed() -> None:
    bucket = TokenBucket(rate=8, burst=2)
    assert bucket.take(100.0)
    assert bucket.delay(100.0) == 0.0
    assert bucket.take(100.0)
    assert bucket.delay(100.0) == 0.125
    assert bucket.delay(100.0625) == 0.0625
    assert not bucket.take(100.0625)
    assert bucket.delay(100.0625) == 0.0625
    assert bucket.take(100.125)


def test_no_errors_without_elapsed_time() -> None:
    bucket = TokenBucket(rate=10, burst=1)
    assert bucket.take(5.0)
    assert not any(bucket.take(5.0) for _ in range(100))


def test_drops_are_counted_by_reason() -> None:
    drops = Drops()
    for reason in (Drop.LOOP, Drop.POLICY, Drop.POLICY):
        drops.count(reason)
    assert drops[Drop.POLICY] == 2
    assert drops[Drop.MALFORMED] == 0
    assert drops.total() == 3
    assert drops.nonzero() == {"drop": 2, "loop": 1}
