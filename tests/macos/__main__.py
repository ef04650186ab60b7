"""Tries the router on this Mac, as root; the exit status is 1 if a step has failed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.macos import steps
from tests.macos.state import state
from tests.macos.steps import OFFICE, PROXY, ROUTER, TUN, WEB, Failed, run, started, wait_until


class Report:
    """Says how each step has ended."""

    def __init__(self) -> None:
        self.failed = 0

    def step(self, name: str, act: Callable[[], object]) -> None:
        try:
            said = act()
        except (Failed, AssertionError, OSError, subprocess.SubprocessError) as error:
            self.failed += 1
            print(f"FAILED  {name}: {error}")
            traceback.print_exc()
        else:
            print(f"ok      {name}" + (f": {said}" if isinstance(said, str) else ""), flush=True)


def main() -> int:
    if sys.platform != "darwin" or os.geteuid() != 0:
        print("this needs a Mac, and root: sudo python -m tests.macos", file=sys.stderr)
        return 2
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # for the processes of other places
    report = Report()
    before = state()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        with ExitStack() as stack:
            _run(report, stack, _prepare(stack))
    report.step("nothing is left", partial(_compare, before))
    return 1 if report.failed else 0


def _prepare(stack: ExitStack) -> subprocess.Popen[str]:
    """The far end, which is returned, and a proxy."""
    vpn = stack.enter_context(steps.far_end())
    if steps.has_microsocks():
        proxy = ("microsocks", "-i", PROXY[0], "-p", str(PROXY[1]))
        stack.enter_context(started(*proxy, ready=""))
    else:
        print("not tried: a proxy, as microsocks is not installed (brew install microsocks)")
    return vpn


def _run(report: Report, stack: ExitStack, vpn: subprocess.Popen[str]) -> None:
    web = socket.getaddrinfo(*WEB, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    has_proxy = steps.has_microsocks()
    file = Path("rules.yaml")
    file.write_text(steps.rules(str(web), proxy=has_proxy), encoding="utf-8")
    report.step("check", lambda: run(*ROUTER, "check", "-c", str(file)))
    report.step("selftest", lambda: run(*ROUTER, "selftest", "-c", str(file)))
    before = state()
    command = (*ROUTER, "run", "-c", str(file))
    with started(*command, ready="ready", log=Path("router.log")) as router:
        for each in (
            *(steps.answered_here, steps.dropped, steps.rejected, steps.by_the_office),
            *(steps.traced, steps.dig_by_home, steps.explained, steps.page),
        ):
            report.step(each.__name__, each)
        policy = "proxy" if has_proxy else "home"
        report.step("curl", partial(steps.curl_web, str(web), policy))
        report.step("reload", partial(steps.reloaded, file))
        report.step("the VPN goes", partial(steps.refused_while_it_is_gone, vpn))
        report.step("the VPN is back", partial(steps.back_again, stack))
        router.send_signal(signal.SIGTERM)
        report.step("SIGTERM", lambda: wait_until(lambda: router.poll() == 0, "exit status 0"))
    report.step("state after SIGTERM", partial(_compare, before))
    with started(*command, ready="ready", log=Path("router.log")) as router:
        report.step("again", steps.by_the_office)
        report.step("SIGKILL", partial(steps.kill_router, router))
    report.step("state after SIGKILL", partial(_compare, before))
    print(Path("router.log").read_text(encoding="utf-8"))


def _compare(before: str) -> None:
    now = state()
    if now != before:
        first, second = set(before.splitlines()), set(now.splitlines())
        gone, new = sorted(first - second), sorted(second - first)
        raise Failed(f"gone: {gone}; new: {new}")


if __name__ == "__main__":
    assert TUN != OFFICE
    sys.exit(main())
