"""The faults of a step: what the kernel may say to such a call, and what may happen to the process
or to a device at any time."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

KILL: Final = "SIGKILL"
STOP: Final = "SIGSTOP"
VANISH: Final = "vanish"
"""The VPN's interface is deleted."""

SENT: Final = (errno.ENOBUFS, errno.EPERM, errno.ENOMEM)
RECEIVED: Final = (errno.ENOBUFS, errno.ENOMEM)
"""ENOBUFS of a netlink socket is an overrun."""
OPENED: Final = (errno.EMFILE, errno.ENOSPC, errno.EPERM)
WRITTEN: Final = (errno.ENOSPC, errno.EPERM)
ERRORS: Final[Mapping[str, Sequence[int]]] = MappingProxyType(
    {
        "socket": (errno.EMFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM),
        "socketpair": (errno.EMFILE, errno.ENOBUFS),
        "dup": (errno.EMFILE,),
        "pipe": (errno.EMFILE,),
        "pipe2": (errno.EMFILE,),
        "fork_exec": (errno.ENOMEM, errno.EMFILE),
        "open": OPENED,
        **dict.fromkeys(("send", "sendto", "sendmsg", "sendall"), SENT),
        **dict.fromkeys(
            ("recv", "recvfrom", "recvmsg", "recv_into", "recvmsg_into", "recvfrom_into"), RECEIVED
        ),
        **dict.fromkeys(("write", "pwrite", "ftruncate", "mkdir", "unlink", "rmdir"), WRITTEN),
    }
)
OTHERS: Final = (errno.EPERM, errno.ENOMEM)


class Case(NamedTuple):
    """A step, and what happens at it: a number of errno, or a name."""

    step: str
    fault: int | str

    def __str__(self) -> str:
        name = errno.errorcode[self.fault] if isinstance(self.fault, int) else self.fault
        return f"{name} at {self.step}"


def cases(steps: Iterable[str]) -> Iterator[Case]:
    """Every fault at every step."""
    for step in steps:
        call = step.rpartition(" ")[2]
        faults: Sequence[int | str] = (*ERRORS.get(call, OTHERS), KILL, STOP, VANISH)
        for fault in faults:
            yield Case(step, fault)
