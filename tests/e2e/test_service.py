"""As a service: the notifications to a service manager, and the confinement of the printed unit.

systemd itself does not run here. Its own systemd-analyze judges the unit; the messages go to a
socket of the test; and other programs confine the router as far as they can: the capabilities of
the unit alone, no new privileges, no memory both written and executed, everything but
/run/tunrouter read-only.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e import ping, probes
from tests.e2e.snapshot import state
from tests.e2e.split import HOME, RULES, VPN
from tests.e2e.testbed import FAMILIES, Testbed
from tests.e2e.tunrouter import PROGRAM, Tunrouter, rules, running
from tests.e2e.wait import BOUND_S, wait_until
from tests.e2e.web.web_client import WEB, is_served

DOCUMENT = Path(__file__).parents[2] / "docs" / "service.md"
STATED = re.compile(r"exposure level of (\d+\.\d)")
FOUND = re.compile(r"Overall exposure level for tunrouter\.service: (\d+\.\d)")
WATCHDOG_US = 200_000

CONFINED = r"""
import ctypes, os, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1  # linux/prctl.h, from Linux 6.3 on
ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
READ_ONLY = (
    "mount -t tmpfs run /run && mkdir -m 755 /run/tunrouter"
    " && mount -t tmpfs -o mode=755 tunrouter /run/tunrouter"
    ' && mount -o remount,bind,ro /run && mount -o remount,bind,ro / && exec "$@"'
)


class NotifySocket:
    """The socket of a service manager; `messages` is all that it has received."""

    def __init__(self, directory: Path) -> None:
        self.path = path = directory / "notify"
        self.messages: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(BOUND_S)
        directory.chmod(0o755)
        path.chmod(0o777)  # as systemd's

    @property
    def environment(self) -> tuple[str, ...]:
        """To be put before a command: the manager's watchdog expects messages of it."""
        exports = f"export WATCHDOG_PID=$$ WATCHDOG_USEC={WATCHDOG_US} NOTIFY_SOCKET={self.path}"
        return ("sh", "-c", f'{exports}; exec "$@"', "sh")

    def wait_for(self, name: str, value: str = "") -> dict[str, str]:
        """The next message with an assignment, whose value holds a text."""
        while True:
            lines = self._socket.recv(4096).decode().split("\n")
            message = dict(line.split("=", 1) for line in lines)
            self.messages.append(message)
            if name in message and value in message[name]:
                return message

    def close(self) -> None:
        self._socket.close()


@contextmanager
def notify_socket() -> Iterator[NotifySocket]:
    """In a directory that the router's user can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="tr-notify-") as directory:
        made = NotifySocket(Path(directory))
        try:
            yield made
        finally:
            made.close()


def unit(directory: Path) -> Path:
    """The printed unit, in a file of the name that it is to have."""
    path = directory / "tunrouter.service"
    printed = subprocess.run(
        [PROGRAM, "service", "systemd", "-c", "/etc/tunrouter/rules.yaml"],
        check=True,
        capture_output=True,
        text=True,
    )
    path.write_text(printed.stdout, encoding="utf-8")
    return path


def setting(path: Path, name: str) -> str:
    (found,) = re.findall(rf"^{name}=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return str(found)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit(tmp_path))],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_is_as_hardened_as_the_documentation_says(tmp_path: Path) -> None:
    (stated,) = STATED.findall(DOCUMENT.read_text(encoding="utf-8"))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit(tmp_path))],
        check=False,
        capture_output=True,
        text=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    (found,) = FOUND.findall(done.stdout)
    assert float(found) <= float(stated), done.stdout


def test_a_service_manager_gets_the_state_of_the_run(bed: Testbed, tmp_path: Path) -> None:
    with (
        notify_socket() as notify,
        running(bed.router, tmp_path, RULES, prefix=notify.environment) as router,
    ):
        assert notify.wait_for("READY")["STATUS"] == "4 routes by tun11; up: home, office"
        assert notify.messages[-1]["READY"] == "1"
        for _ in range(3):
            notify.wait_for("WATCHDOG", "1")
        bed.close_tunnel()
        try:
            notify.wait_for("STATUS", "up: home; down: office")
        finally:
            bed.open_tunnel()
        notify.wait_for("STATUS", "up: home, office")
        assert router.stop().exit_code == 0
        assert notify.wait_for("STOPPING", "1")["STATUS"] == ""


def test_ready_is_sent_when_the_routes_are_installed(bed: Testbed, tmp_path: Path) -> None:
    """For a manager that waits for that alone, as systemd does for units ordered after this."""
    with notify_socket() as notify:
        path = tmp_path / "rules.yaml"
        path.write_text(RULES, encoding="utf-8")
        router = Tunrouter(bed.router, path, prefix=notify.environment)
        try:
            notify.wait_for("READY")
            routes = bed.router.run("ip", "route", "show", "proto", "116").stdout
            assert len({line.split()[0] for line in routes.splitlines()}) == 2
            router.stop()
        finally:
            router.close()


def test_a_service_manager_is_notified_of_a_reload(bed: Testbed, tmp_path: Path) -> None:
    """When it begins and when it is over, also of one that is refused."""
    with (
        notify_socket() as notify,
        running(bed.router, tmp_path, RULES, prefix=notify.environment) as router,
    ):
        notify.wait_for("READY")
        one_less = rules(*(f"{family.far(HOME)} -> home" for family in FAMILIES))
        for text, routes in ((one_less, 2), ("no rules at all", 2), (RULES, 4)):
            (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
            os.kill(router.pid, signal.SIGHUP)
            assert int(notify.wait_for("RELOADING", "1")["MONOTONIC_USEC"]) > 0
            assert notify.wait_for("READY")["STATUS"].startswith(f"{routes} routes by tun11")


def test_an_absent_service_manager_is_no_error(bed: Testbed, tmp_path: Path) -> None:
    prefix = ("env", f"NOTIFY_SOCKET={tmp_path}/absent", f"WATCHDOG_USEC={WATCHDOG_US}")
    with running(bed.router, tmp_path, RULES, prefix=prefix):
        assert ping.answered(bed.client, FAMILIES[0].far(HOME)).received == 3


def test_within_the_confines_of_the_unit_all_works_and_nothing_is_left(
    bed: Testbed, tmp_path: Path
) -> None:
    """With rules that only root may read."""
    printed = unit(tmp_path)
    capabilities = setting(printed, "CapabilityBoundingSet").split()
    kept = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in capabilities)])
    rights = (
        *("setpriv", f"--bounding-set={kept}", "--inh-caps=-all", "--no-new-privs"),
        *("python3", "-c", CONFINED),
    )
    confinement = ("unshare", "--mount", "sh", "-c", READ_ONLY, "sh", *rights)
    private = tmp_path / "rules.yaml"
    private.touch(mode=0o600)
    server = probes.start_server(bed.far)
    before = state(bed.router)
    try:
        with running(bed.router, tmp_path, RULES + WEB, prefix=confinement) as router:
            wait_until(lambda: is_served(bed.router), "the web process", detail=lambda: router.log)
            for family in FAMILIES:
                for host in (HOME, VPN):
                    assert ping.answered(bed.client, family.far(host)).received == 3
                    assert probes.tcp(bed.client, family.far(host)) == "connected"
                    assert probes.udp(bed.client, family.far(host)) == "answered"
            reloaded = bed.router.run(
                *("nsenter", f"--target={router.pid}", "--mount", *rights),
                *("sh", "-c", setting(printed, "ExecReload").replace("$MAINPID", str(router.pid))),
            )
            assert reloaded.stdout.startswith("reloaded: 4 rules; flows kept: ")
            assert "warning" not in router.log
            assert router.stop().exit_code == 0
        assert state(bed.router) == before
    finally:
        server.close()
