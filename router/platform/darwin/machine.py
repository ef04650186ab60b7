"""What a Mac has for a run, read without changing anything.

Always true: what cannot be read is named in `unseen`; nothing here raises for it. A utun's control
is looked up, and none is made.

Must not know: rules, and what is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Final

from router.platform.darwin.constants import CTLIOCGINFO, UTUN_CONTROL
from router.platform.darwin.kernel import RoutingKernel, UtunKernel, Xnu
from router.platform.darwin.resolvers import read_resolvers
from router.platform.darwin.sockaddr import ADDRESS_SIZE
from router.platform.darwin.state import read_interfaces, read_routes
from router.platform.darwin.utun import CTL_INFO
from router.platform.found import found_modules, found_programs
from router.platform.reason import reason
from router.policy.machine.facts import Machine, TunDevice

PF: Final = "what the packet filter (pf) does to packets that arrive"


def read_machine(modules: Collection[str], programs: Collection[str]) -> Machine:
    """See router.platform.this_machine."""
    xnu = Xnu()
    unseen = [PF]
    names = os.uname()
    numbers = re.match(r"(\d+)\.(\d+)", names.release)
    return Machine(
        names.sysname,
        names.release,
        (int(numbers[1]), int(numbers[2])) if numbers else (0, 0),
        is_root=os.geteuid() == 0,
        tun=utun_control(xnu),
        arrivals=None,
        modules=found_modules(modules),
        programs=found_programs(programs),
        scoped_defaults=scoped_defaults(xnu, unseen),
        resolvers=tuple(read_resolvers(unseen)),
        unseen=tuple(dict.fromkeys(unseen)),
    )


def utun_control(kernel: UtunKernel) -> TunDevice:
    """Whether the kernel control is there; connecting to it, which makes a utun, needs root."""
    try:
        sock = kernel.control_socket()
    except OSError:
        return TunDevice.FAILED
    try:
        kernel.ioctl(sock.fileno(), CTLIOCGINFO, CTL_INFO.pack(0, UTUN_CONTROL.encode()))
    except OSError:
        return TunDevice.ABSENT
    finally:
        sock.close()
    return TunDevice.USABLE


def scoped_defaults(kernel: RoutingKernel, unseen: list[str]) -> Mapping[str, frozenset[int]]:
    """By interface, the IP versions of which it has a default route that bound sockets use: one
    that is scoped to it, or the unscoped one."""
    try:
        names = {each.index: name for name, each in read_interfaces(kernel).items()}
        found: dict[str, set[int]] = {}
        for version in ADDRESS_SIZE:
            for route in read_routes(kernel, version):
                if route.length == 0 and route.interface in names:
                    found.setdefault(names[route.interface], set()).add(version)
    except OSError as error:
        unseen.append(f"the scoped routes of interfaces ({reason(error)})")
        return {}
    return {name: frozenset(versions) for name, versions in found.items()}
