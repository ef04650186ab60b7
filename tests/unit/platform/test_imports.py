"""What the processes of a run import before they do anything: it is most of what a start costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

UNDOER = "router.platform.linux.undoer"
GUARD = "router.platform.linux.guard"
ROUTER = "router.cli.run, router.platform.linux.system"
FOR_PEOPLE = {"netaddr", "prometheus_client", "rich", "scapy", "starlette", "uvicorn"}
"""What serves people who look, in other processes."""
SLOW_CLASSES = {"dataclasses", "inspect"}
"""`dataclasses` imports inspect, ast, dis and tokenize, and compiles source text for each class."""
NEVER = {
    UNDOER: FOR_PEOPLE
    | SLOW_CLASSES
    | {"argparse", "ctypes", "subprocess", "yaml"}
    | {"router.config.problems", "router.policy", "router.wire"},
    GUARD: FOR_PEOPLE
    | SLOW_CLASSES
    | {"argparse", "pickle", "yaml"}
    | {"router.config.model", "router.engine", "router.outbound", "router.policy.findings"},
    ROUTER: FOR_PEOPLE
    | {"platform", "router.cli.check", "router.control.web.app"}
    | {f"router.policy.findings.{each}" for each in ("all", "shadowing", "special", "system")},
}
"""By what a process imports at its start: the modules that are not among it."""


@pytest.mark.parametrize("process", NEVER)
def test_a_process_imports_nothing_that_it_does_not_need(process: str) -> None:
    program = f"import sys, {process}; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert not NEVER[process].intersection(shown.stdout.decode().split())
