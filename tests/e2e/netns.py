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
from collections.abc import Container, Mapping
from contextlib import suppress
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
    """One network namespace, between create() and delete()."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create(self) -> None:
        create(self)
        self.ip("link set lo up")

    def delete(self) -> None:
        delete(self)

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
        return _pids({self.number})

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


Link = tuple[Namespace, str, Namespace, str]
"""A veth pair: the two namespaces, each with the name of its end."""


def create(*namespaces: Namespace) -> None:
    """Makes them, their loopback interfaces down."""
    _ip(*(f"netns add {each.name}" for each in namespaces))


def delete(*namespaces: Namespace) -> None:
    """Ends what still runs inside and removes the namespaces, with what routers that were killed
    there have left in /run, and their configurations. One that is gone already is none."""
    present = [each for each in namespaces if each.name in names()]
    numbers = {each.number for each in present}
    wait_until(
        lambda: _have_ended(numbers),
        f"the processes in {', '.join(each.name for each in present)} to end",
    )
    for each in present:
        shutil.rmtree(each.runtime, ignore_errors=True)
    _ip(*(f"netns del {each.name}" for each in present))
    for each in namespaces:
        shutil.rmtree(each.configuration, ignore_errors=True)


def _have_ended(numbers: set[int]) -> bool:
    """Whether nothing runs inside; what does is killed, also what has just come in."""
    pids = _pids(numbers)
    for pid in pids:
        _kill(pid)
    return not pids


def join(*links: Link) -> None:
    """Joins pairs of namespaces, all ends down."""
    _ip(
        *(
            f"link add {left_name} netns {left.name} type veth"
            f" peer name {right_name} netns {right.name}"
            for left, left_name, right, right_name in links
        )
    )


def connect(left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
    """Joins two namespaces by a veth pair, both ends up."""
    join((left, left_name, right, right_name))
    for namespace, interface in ((left, left_name), (right, right_name)):
        namespace.ip(f"link set {interface} up")


def names() -> list[str]:
    return [path.name for path in NAMESPACES.iterdir()] if NAMESPACES.exists() else []


def sweep() -> None:
    """Removes the namespaces of test runs that were killed and could not clean up, with their
    files."""
    configured = [path.name for path in CONFIGURATIONS.glob(f"{PREFIX}-*")]
    for name in {*names(), *configured}:
        parts = name.split("-")
        if parts[0] == PREFIX and len(parts) > 3 and not Path("/proc", parts[1]).exists():
            delete(Namespace(name))


def is_ending(pid: int) -> bool:
    """Whether a process has left its namespaces and still may have descriptors: Linux closes them
    later (do_exit in kernel/exit.c), up to a tenth of a second, and then it is a zombie."""
    try:
        Path(f"/proc/{pid}/ns/net").stat()
    except OSError:
        with suppress(OSError):  # it has ended
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            return state not in "ZX"
    return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _pids(numbers: Container[int]) -> list[int]:
    """The processes in any of the namespaces, which are given by their numbers."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with suppress(OSError):  # it has ended
                if (process / "ns/net").stat().st_ino in numbers:
                    found.append(int(process.name))
    return found


def _ip(*commands: str) -> None:
    """As Namespace.ip, in the namespace of this process."""
    done = subprocess.run(
        ["ip", "-batch", "-"],
        check=False,
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        timeout=BOUND_S,
    )
    if done.returncode != 0:
        raise AssertionError(f"{'; '.join(commands)}: {done.stderr.strip()}")
