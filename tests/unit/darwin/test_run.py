"""`tunrouter run` on a fake Mac: from its start to its end, with guard and undoer as processes."""

from __future__ import annotations

import getpass
import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from router.wire import icmp, ip
from tests.e2e.wait import BOUND_S, wait_until

ROOT = Path(__file__).parents[3]
RULES = """\
version: 1
tun: {{name: utun11, address: [192.168.7.1/30, "fd77::1/126"]}}
user: {user}
policies: {{office: {{type: vpn, interface: utun9, on_down: reject}}}}
rules:
  - {{cidr: 203.0.113.1, policy: reply}}
  - {{cidr: 203.0.113.0/24, policy: drop}}
  - {{cidr: 198.51.100.0/24, policy: office}}
"""
US = ip_address("192.168.7.1").packed
FAMILY_V4 = bytes([0, 0, 0, 2])
ECHO = bytes.fromhex("0800f7fd00010001")


class Run:
    """One in a directory, which is gone when nothing of it is left."""

    def __init__(self, place: Path, process: subprocess.Popen[str]) -> None:
        self.directory = place / "tunrouter"
        self.process = process
        self._into = str(place / "into")
        self._frames = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._frames.bind(str(place / "out"))
        self._frames.settimeout(BOUND_S)
        self.close = self._frames.close

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        return (self.directory / "utun11.sock").exists()

    def status(self) -> Any:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(str(self.directory / "utun11.sock"))
            sock.sendall(b'{"command": "status"}\n')
            with sock.makefile("rb") as answer:
                return json.loads(answer.read())

    def ping(self, host: str) -> ip.Packet:
        """What comes back for an echo request."""
        request = ip.build(US, ip_address(host).packed, ip.ICMP, ECHO)
        self._frames.sendto(FAMILY_V4 + request, self._into)
        frame = self._frames.recv(2048)
        assert frame[:4] == FAMILY_V4
        return ip.parse(frame[4:])

    def is_gone(self) -> bool:
        return not self.directory.exists()


@contextmanager
def running() -> Iterator[Run]:
    with tempfile.TemporaryDirectory(prefix="tr-") as name:
        place = Path(name)
        rules = place / "rules.yaml"
        rules.write_text(RULES.format(user=getpass.getuser()), encoding="utf-8")
        command = "-m", "tests.unit.darwin.fake_run", str(place / "tunrouter"), "run", "-c"
        process = subprocess.Popen(
            [sys.executable, *command, str(rules)],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            stderr=subprocess.PIPE,
            text=True,
        )
        run = Run(place, process)
        try:
            wait_until(run.is_ready, "the router to be ready")
            yield run
        finally:
            run.close()
            process.kill()
            process.communicate()
            wait_until(run.is_gone, "guard and undoer to end")


def test_packets_and_questions_are_answered_and_nothing_is_left() -> None:
    with running() as run:
        reply = run.ping("203.0.113.1")
        assert (icmp.message_type(reply), reply.destination) == (0, US)
        rejected = run.ping("198.51.100.1")
        assert icmp.is_error(rejected)
        assert rejected.source == ip_address("192.168.7.2").packed
        found = run.status()
        assert found["tun"] == "utun11"
        assert found["policies"]["office"]["state"] == "down"
        assert found["rules"][0]["packets"] == 2, "the request and its reply"
        run.process.send_signal(signal.SIGTERM)
        assert run.process.wait(BOUND_S) == 0
        assert run.is_gone()


def test_a_router_that_is_killed_leaves_nothing() -> None:
    with running() as run:
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()
        wait_until(run.is_gone, "guard and undoer to end")
