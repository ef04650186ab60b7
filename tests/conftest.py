"""The seed of what differs from run to run. It is made here, by the process that starts the others,
and shown, so that a run can be repeated."""

from __future__ import annotations

from tests.seed import VARIABLE, choose


def pytest_configure() -> None:
    choose()


def pytest_report_header() -> str:
    return f"{VARIABLE}={choose()}"
