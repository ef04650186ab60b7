"""Reasons of errors are worded by the system or the project, not by Python or a library."""

from __future__ import annotations

import errno
import os

import pytest

from router.platform.base.errors import PlatformError
from router.platform.reason import reason

DENIED = os.strerror(errno.EACCES)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.EACCES, DENIED), DENIED),
        (OSError(errno.EACCES, DENIED, "/run/x"), f"{DENIED}: /run/x"),
        (OSError(errno.EACCES, DENIED, b"/run/x"), f"{DENIED}: /run/x"),
        (OSError(errno.EINVAL, "is not a file", "/run/x"), "is not a file: /run/x"),
        (PlatformError("put sudo before it"), "put sudo before it"),
        (OSError("worded by a library"), "no cause is known"),
        (TypeError("worded by Python"), "a fault of tunrouter's own (TypeError)"),
    ],
)
def test_reasons(error: Exception, expected: str) -> None:
    assert reason(error) == expected
