"""Programs at the ingress of an interface (tcx), as a process of its namespace sees and attaches
them.

python -m tests.e2e.ingress INTERFACE list       prints the numbers of the programs there
python -m tests.e2e.ingress INTERFACE hold N     attaches one that only returns N, until it is ended
"""

from __future__ import annotations

import socket
import sys
import threading
from struct import Struct, iter_unpack

from router.platform.linux.bpf import syscall
from router.platform.linux.bpf.instructions import R0, assemble, leave, put
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process

PROG_QUERY = 16
QUERY = Struct("=II8xQI36x")
"""Interface, where, address of numbers, how many there may be (union bpf_attr)."""
MOST = 64
SENT_ON, DROPPED = 0, 2
"""TCX_PASS, TCX_DROP: both end the sequence of programs."""
READY = "attached"


def programs_at(namespace: Namespace, interface: str) -> list[int]:
    """In their order."""
    found = namespace.run(sys.executable, "-m", __name__, interface, "list").stdout
    return [int(number) for number in found.split()]


def started(namespace: Namespace, interface: str, result: int) -> Process:
    """A process with a program of its own there. The caller closes it."""
    command = (sys.executable, "-m", __name__, interface, "hold", str(result))
    process = namespace.start(*command)
    process.wait_for_output(READY)
    return process


def _listed(index: int) -> list[int]:
    numbers = bytes(4 * MOST)
    address = syscall.address_of(numbers)
    syscall.bpf(PROG_QUERY, QUERY.pack(index, syscall.TCX_INGRESS, address, MOST))
    return [number for (number,) in iter_unpack("=I", numbers) if number]


def _hold(index: int, result: int) -> None:
    loaded = syscall.load_filter(assemble([put(R0, result), leave()]), syscall.SCHEDULING)
    syscall.link(loaded, index, syscall.TCX_INGRESS, syscall.BEFORE)
    print(READY, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    interface, what, *rest = sys.argv[1:]
    number = socket.if_nametoindex(interface)
    if what == "list":
        print(*_listed(number))
    else:
        _hold(number, int(rest[0]))
