"""Network namespaces, by iproute2's own commands.

Always true: a name carries the pid of the process that made it, so that processes and whole runs
side by side never use the same one, and what a killed run has left is distinguished from what is
in use.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.e2e.processes import Process
from tests.e2e.wait import BOUND_S, wait_until

PREFIX = "tr"
NAMESPACES = Path("/run/netns")
CONFIGURATIONS = Path("/etc/netns")
RUNTIME = Path("/run/tunrouter")
_beds = itertools.count(1)


def unique_prefix() -> str:
    """A prefix for the namespaces of one test bed: tr-<pid>-<number>."""
    return f"{PREFIX}-{os.getpid()}-{next(_beds)}"


class Namespace:
    """One network namespace. Made by create(), gone with everything in it after delete()."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self) -> None:
        _ip("netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")

    def delete(self) -> None:
        """Ends what still runs inside and removes the namespace, with what routers that were killed
        there have left in /run, and its configuration. Nothing happens if it is gone."""
        if self.name in names():
            for pid in self.pids():
                _kill(pid)
            wait_until(lambda: not self.pids(), f"the processes in {self.name} to end")
            shutil.rmtree(self.runtime, ignore_errors=True)
            _ip("netns", "del", self.name)
        shutil.rmtree(self.configuration, ignore_errors=True)

    @property
    def number(self) -> int:
        """Of namespaces(7). The kernel uses it again when the namespace is gone."""
        return (NAMESPACES / self.name).stat().st_ino

    @property
    def runtime(self) -> Path:
        """The directory of the routers that run inside."""
        return RUNTIME / f"net-{self.number}"

    @property
    def configuration(self) -> Path:
        """The directory whose files `ip netns exec` shows as those of /etc."""
        return CONFIGURATIONS / self.name

    def pids(self) -> list[int]:
        return [int(pid) for pid in _ip("netns", "pids", self.name).split()]

    def command(self, *argv: str) -> list[str]:
        """The same command, to be run inside."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(
        self, *argv: str, check: bool = True, timeout: float = 2 * BOUND_S, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end. Raises AssertionError with its output if it fails."""
        done = subprocess.run(
            self.command(*argv),
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{self.name}: {' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def start(self, *argv: str, env: Mapping[str, str] | None = None) -> Process:
        """Starts a command in the background; the caller owns the process."""
        return Process(self.command(*argv), env)

    def ip(self, *commands: str) -> None:
        """Runs lines such as `addr add 192.0.2.1/24 dev eth0` in one go."""
        self.run("ip", "-batch", "-", stdin="\n".join(commands) + "\n")

    def sysctl(self, **values: int) -> None:
        """Sets `net` keys: __ stands for the dot, as in ipv4__ip_forward=1."""
        self.run(
            "sysctl",
            "-q",
            *(f"net.{key.replace('__', '.')}={value}" for key, value in values.items()),
        )

    def counter(self, interface: str, name: str) -> int:
        """A statistic of an interface, such as rx_packets."""
        return int(self.run("cat", f"/sys/class/net/{interface}/statistics/{name}").stdout)

    def has_interface(self, interface: str) -> bool:
        return self.run("ip", "link", "show", "dev", interface, check=False).returncode == 0


def connect(left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
    """Joins two namespaces by a veth pair, both ends up."""
    _ip(
        *("link", "add", left_name, "netns", left.name, "type", "veth"),
        *("peer", "name", right_name, "netns", right.name),
    )
    for namespace, interface in ((left, left_name), (right, right_name)):
        namespace.ip(f"link set {interface} up")


def names() -> list[str]:
    return [line.split()[0] for line in _ip("netns", "list").splitlines() if line.strip()]


def sweep() -> None:
    """Removes the namespaces of test runs that were killed and could not clean up, with their
    files."""
    configured = [path.name for path in CONFIGURATIONS.glob(f"{PREFIX}-*")]
    for name in {*names(), *configured}:
        parts = name.split("-")
        if parts[0] == PREFIX and len(parts) > 3 and not Path("/proc", parts[1]).exists():
            Namespace(name).delete()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _ip(*arguments: str) -> str:
    return _checked(["ip", *arguments])


def _checked(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=BOUND_S)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
