"""The error queue of a socket that could not connect, parsed without a socket."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import ip_address

import pytest

from router.platform.base.tcp import ConnectFailure
from router.platform.linux.tcp import connect_failure

Ancillary = list[tuple[int, int, bytes]]

KINDS = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR, IPV6_RECVERR: linux/in.h, linux/in6.h."""
LOCAL, ICMP, ICMP6 = 1, 2, 3
"""SO_EE_ORIGIN_*: linux/errqueue.h."""
OFFENDERS = {4: "192.0.2.1", 6: "2001:db8:2::1"}
UNREACHABLE = {4: (3, 1), 6: (1, 3)}
BOTH = pytest.mark.parametrize("version", [4, 6])


def queue(
    version: int,
    *,
    error: int = errno.EHOSTUNREACH,
    origin: int | None = None,
    what: tuple[int, int] | None = None,
    info: int = 0,
) -> Ancillary:
    """One message as ip(7) describes it: sock_extended_err, then the offender as a sockaddr."""
    origin = origin if origin is not None else ICMP if version == 4 else ICMP6
    kind, code = what or UNREACHABLE[version]
    extended = struct.pack("=IBBBBII", error, origin, kind, code, 0, info, 0)
    packed = ip_address(OFFENDERS[version]).packed
    if version == 4:
        offender = struct.pack("=HH4s8x", socket.AF_INET, 0, packed)
    else:
        offender = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, packed, 0)
    return [(*KINDS[version], extended + offender)]


@BOTH
def test_an_icmp_error_with_its_sender(version: int) -> None:
    failure = connect_failure(errno.EHOSTUNREACH, version, queue(version))
    offender = ip_address(OFFENDERS[version]).packed
    assert failure == ConnectFailure(errno.EHOSTUNREACH, (*UNREACHABLE[version], 0), offender)


@BOTH
def test_the_mtu_of_too_big_is_reported(version: int) -> None:
    what = (3, 4) if version == 4 else (2, 0)
    messages = queue(version, error=errno.EMSGSIZE, what=what, info=1280)
    assert connect_failure(errno.EMSGSIZE, version, messages).icmp == (*what, 1280)


@BOTH
@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.ENETUNREACH])
def test_an_icmp_error_about_something_else_is_not_the_reason(version: int, error: int) -> None:
    """A reset came after it, say."""
    assert connect_failure(error, version, queue(version)) == ConnectFailure(error)


@BOTH
def test_a_timeout_stays_a_timeout(version: int) -> None:
    """An error that was noted on the way to a time-out has not ended the attempt."""
    messages = queue(version, error=errno.ETIMEDOUT)
    assert connect_failure(errno.ETIMEDOUT, version, messages) == ConnectFailure(errno.ETIMEDOUT)


@BOTH
def test_an_error_of_this_kernel_has_no_sender(version: int) -> None:
    messages = queue(version, origin=LOCAL)
    assert connect_failure(errno.EHOSTUNREACH, version, messages) == ConnectFailure(
        errno.EHOSTUNREACH
    )


@BOTH
def test_errors_of_the_other_family_are_ignored(version: int) -> None:
    other = queue(10 - version)
    assert connect_failure(errno.EHOSTUNREACH, version, other) == ConnectFailure(errno.EHOSTUNREACH)


@BOTH
def test_the_first_matching_error_counts(version: int) -> None:
    messages = [
        (socket.SOL_SOCKET, 29, bytes(16)),
        (*KINDS[version], b"short"),
        *queue(version, error=errno.EPROTO),
        *queue(version),
    ]
    found = connect_failure(errno.EHOSTUNREACH, version, messages).icmp
    assert found == (*UNREACHABLE[version], 0)


@BOTH
def test_an_empty_queue(version: int) -> None:
    assert connect_failure(errno.ECONNREFUSED, version, []) == ConnectFailure(errno.ECONNREFUSED)
