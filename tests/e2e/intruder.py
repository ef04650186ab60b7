"""tunrouter, taken over: the same command line, and at `ready` an attacker's code runs in the
router's process, with all its rights and descriptors.

python -m tests.e2e.intruder run -c rules.yaml            each of ATTEMPTS, with its result
python -m tests.e2e.intruder --leave run -c rules.yaml    without the filter of system calls: makes
                                                          the TUN persistent, leaves a child
                                                          that has a copy of each descriptor,
                                                          and prints LEFT

Results are one JSON object on standard output: by attempt, the name of the errno number, what the
guard says, or "done".
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from struct import pack
from typing import Any, Final

from router.cli import main
from router.engine.router import Router
from router.platform import control_sockets
from router.platform.base.errors import PlatformError
from router.platform.linux.only_on_linux import (
    AF_ALG,
    AF_NETLINK,
    AF_PACKET,
    SO_BINDTODEVICE,
    prlimit,
)
from router.platform.linux.sandbox import enter
from router.platform.privileged.channel import Message
from router.platform.privileged.prefix_records import RECORD

TIOCSTI: Final = 0x5412
TUNSETIFF: Final = 0x400454CA
TUNSETPERSIST: Final = 0x400454CB
TUNSETOWNER: Final = 0x400454CC
SO_DETACH_FILTER: Final = 27
CLONE_NEWUSER: Final = 0x10000000
PTRACE_ATTACH: Final = 16
PR_SET_DUMPABLE: Final = 4
NOBODY: Final = 65534
LEFT: Final = "left behind"
IFREQ: Final = pack("16sH22x", b"tun12", 1)

libc = ctypes.CDLL(None, use_errno=True)


def _c(function: str, *arguments: Any) -> None:
    """A function of the C library. Raises OSError."""
    if getattr(libc, function)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _signal_guard_starter(_: Router) -> None:
    os.kill(os.getppid(), 0)


def left_socket(pid: int) -> Path:
    """What a router of that process leaves in /tmp."""
    return Path(f"/tmp/taken-over-{pid}.sock")


def _bind(_: Router) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(left_socket(os.getpid())))


def _connect_to_control_socket(router: Router) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(str(control_sockets()[router.tun.name]))


def _call(operation: str, records: bytes = b"", /, **arguments: Any) -> Callable[[Router], Message]:
    """A request to the guard."""
    return lambda router: _guard(router).call(operation, records, **arguments)


def _guard(router: Router) -> Any:
    return router.system.processes.guard()


def _foreign_routes(router: Router) -> None:
    """With a congestion control that there is not. Refused, they must not be wanted: `reconcile`
    without routes would try to add them again."""
    prefix = RECORD.pack(4, 24, 0, (203 << 24 | 113 << 8).to_bytes(16, "big"))
    try:
        _guard(router).call("reconcile", prefix, labels=[[1500, None, [[16, b"none".hex()]]]])
    finally:
        _guard(router).call("reconcile", labels=None)


def _many_readers(router: Router) -> None:
    for _ in range(100):
        os.close(_guard(router).call("start_reread").descriptors[0])


def _icmp_socket() -> socket.socket:
    """A copy of one of the router's own."""
    for each in Path("/proc/self/fd").iterdir():
        try:
            sock = socket.socket(fileno=os.dup(int(each.name)))
        except OSError:
            continue  # no socket
        if sock.type == socket.SOCK_RAW and sock.proto == socket.IPPROTO_ICMP:
            return sock
        sock.close()
    raise AssertionError("the router has no ICMP socket")


def _foreign_netlink(_: Router) -> None:
    """To another port than the kernel's, which is 0."""
    with socket.socket(AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.sendto(pack("=IHHIIi", 20, 2, 0, 1, 0, 0), (os.getppid(), 0))


def _detach(_: Router) -> None:
    with _icmp_socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def _rebind(_: Router) -> None:
    with _icmp_socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo")


ATTEMPTS: Final[Mapping[str, Callable[[Router], object]]] = {
    # The system calls of a program that does more than route.
    "type into the terminal (TIOCSTI)": lambda _: fcntl.ioctl(2, TIOCSTI, b"\n"),
    "make the TUN persistent (TUNSETPERSIST)": lambda r: fcntl.ioctl(r.tun, TUNSETPERSIST, 1),
    "give the TUN an owner (TUNSETOWNER)": lambda r: fcntl.ioctl(r.tun, TUNSETOWNER, NOBODY),
    "make another TUN (TUNSETIFF)": lambda r: fcntl.ioctl(
        r.tun, TUNSETIFF, pack("16sH22x", b"x", 1)
    ),
    "open /dev/net/tun": lambda _: os.open("/dev/net/tun", os.O_RDWR),
    "fork": lambda _: _fork(),
    "start a thread": lambda _: threading.Thread(target=time.time).start(),
    "execute a program": lambda _: os.execv("/bin/true", ["true"]),
    "trace a process": lambda _: _c("ptrace", PTRACE_ATTACH, os.getppid(), None, None),
    "a namespace of users": lambda _: _c("unshare", CLONE_NEWUSER),
    "be traceable (PR_SET_DUMPABLE)": lambda _: _c("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0),
    "write a file": lambda _: os.open("/tmp/taken-over", os.O_WRONLY | os.O_CREAT),
    "delete a file": lambda _: Path("/tmp/no-such-file").unlink(),
    "leave a socket in /tmp (bind)": _bind,
    "delete that socket": lambda _: left_socket(os.getpid()).unlink(),
    "read a file that every user may read": lambda _: Path("/etc/passwd").read_bytes(),
    "read a file of root's": lambda _: Path("/etc/shadow").read_bytes(),
    "become root": lambda _: os.setuid(0),
    "use the control socket": _connect_to_control_socket,
    "signal another process": _signal_guard_starter,
    "renice another process": lambda _: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
    "limit another process": lambda _: prlimit(os.getppid(), resource.RLIMIT_NOFILE),
    "a packet socket": lambda _: socket.socket(AF_PACKET, socket.SOCK_RAW, 0),
    "a socket of the kernel's ciphers": lambda _: socket.socket(AF_ALG, socket.SOCK_SEQPACKET),
    "netlink of the packet filter": lambda _: socket.socket(AF_NETLINK, socket.SOCK_RAW, 12),
    "a netlink message to another process": _foreign_netlink,
    "remove the filter of an ICMP socket": _detach,
    "bind an ICMP socket to another interface": _rebind,
    # Requests to the guard.
    "a raw socket by no interface": _call(
        "raw_socket", version=4, name="", index=0, address="127.0.0.1"
    ),
    "a raw socket by the loopback interface": _call(
        "raw_socket", version=4, name="lo", index=1, address="127.0.0.1"
    ),
    "an ICMP socket by the loopback interface": _call(
        "icmp_socket", version=4, name="lo", index=1, first_id=0, after_last=65536
    ),
    "frames by the loopback interface": _call("frame_socket", name="lo", index=1, protocol=0x800),
    "a listener at a name that root looks up": _call("listening_socket", address="localhost"),
    "a listener at another address": _call("listening_socket", address="127.0.0.1"),
    "100,000 sockets at once": _call("udp_sockets", version=4, number=100_000),
    "a second TUN": _call(
        "open_tun", name="tun12", mtu=1500, addresses=["192.0.2.1/30"], offloads=False
    ),
    "settings of another interface": _call("prepare_interface", name="lo", index=1, routed=False),
    "settings by a path": _call("prepare_interface", name="../all", index=1, routed=False),
    "routes that are refused": _foreign_routes,
    "an operation that there is not": _call("execute", command="id"),
    "100 readers of the rules, as root": _many_readers,
}
"""By name; the last ones cost the guard the most."""


def attempt(router: Router, action: Callable[[Router], object]) -> str:
    try:
        action(router)
    except PlatformError as error:
        return str(error)
    except OSError as error:
        return errno.errorcode[error.errno] if error.errno else str(error)
    except RuntimeError as error:  # Python's for a thread
        return str(error)
    return "done"


def attack(router: Router) -> None:
    print(json.dumps({name: attempt(router, action) for name, action in ATTEMPTS.items()}))
    sys.stdout.flush()


def leave(router: Router) -> None:
    fcntl.ioctl(router.tun, TUNSETPERSIST, 1)
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print(LEFT, flush=True)


if __name__ == "__main__":
    started = Router._start_supervision
    action = attack
    if sys.argv[1] == "--leave":
        del sys.argv[1]
        action = leave
        enter.filter_system_calls = lambda without=(): None

    def at_ready(router: Router, stack: ExitStack) -> None:
        started(router, stack)
        action(router)

    Router._start_supervision = at_ready  # type: ignore[assignment,method-assign]
    sys.exit(main())
