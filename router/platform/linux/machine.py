"""What a Linux machine has for a run, read without changing anything.

Always true: what cannot be read is named in `unseen`; nothing here raises for it. Opening the TUN
device makes none; it may load its kernel module, as `run` would.

Must not know: rules, and what is needed.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from router.platform.found import found_modules, found_programs
from router.platform.linux.host_rules import constants as nf
from router.platform.linux.host_rules.arrivals import read_arrivals
from router.platform.linux.host_rules.limits import MOST_RULES, TooManyRulesError
from router.platform.linux.tun import DEVICE
from router.platform.linux.undo import SYSCTL
from router.platform.reason import reason
from router.policy.machine.arrivals import ArrivalChain
from router.policy.machine.facts import Machine, TunDevice

CAPABILITIES: Final = {
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_BPF": 39,
}
"""linux/capability.h."""
CAP_SYS_ADMIN: Final = 21
FIXED_SETTINGS: Final = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/rp_filter",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/default/disable_ipv6",
    "net/ipv6/conf/default/addr_gen_mode",
)
CONTAINER_FILES: Final = {
    Path("/.dockerenv"): "docker",
    Path("/run/.containerenv"): "podman",
}
KIND_OF_CONTAINER: Final = Path("/run/systemd/container")
LEGACY_TABLES: Final = (Path("/proc/net/ip_tables_names"), Path("/proc/net/ip6_tables_names"))


def read_machine(
    interfaces: Collection[str], modules: Collection[str], programs: Collection[str]
) -> Machine:
    """interfaces: whose settings are read. modules, programs: that are looked for."""
    unseen: list[str] = []
    names = os.uname()
    is_root = os.geteuid() == 0
    arrivals, forwarded = _arrivals(unseen)
    return Machine(
        names.sysname,
        names.release,
        _numbers(names.release),
        is_root,
        _lacking(is_root, unseen),
        _tun(),
        _container(),
        _is_read_only(),
        dict(_settings(interfaces)),
        arrivals,
        forwarded,
        found_modules(modules),
        found_programs(programs),
        unseen=tuple(unseen),
    )


def _numbers(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _lacking(is_root: bool, unseen: list[str]) -> frozenset[str]:
    """Of root those that it has not, of another user those that nothing it starts can get."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError as error:
        unseen.append(f"the capabilities of this process ({reason(error)})")
        return frozenset()
    line = re.search(rf"^Cap{'Eff' if is_root else 'Bnd'}:\s*([0-9a-f]+)$", status, re.MULTILINE)
    bits = int(line[1], 16) if line else ~0
    lacking = {name for name, bit in CAPABILITIES.items() if not bits >> bit & 1}
    if bits >> CAP_SYS_ADMIN & 1:
        lacking.discard("CAP_BPF")
    return frozenset(lacking)


def _tun() -> TunDevice:
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return TunDevice.ABSENT
        if error.errno in (errno.EACCES, errno.EPERM):
            return TunDevice.REFUSED
        return TunDevice.FAILED
    os.close(descriptor)
    return TunDevice.USABLE


def _container() -> str | None:
    """As systemd-detect-virt(1) looks for one."""
    try:
        return KIND_OF_CONTAINER.read_text(encoding="ascii", errors="replace").strip() or "unknown"
    except OSError:
        return next((kind for path, kind in CONTAINER_FILES.items() if path.exists()), None)


def _is_read_only() -> bool:
    """Whether /proc/sys/net is mounted so."""
    try:
        return bool(os.statvfs(SYSCTL / "net").f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _settings(interfaces: Collection[str]) -> Iterator[tuple[str, str]]:
    own = (f"net/ipv4/conf/{name}/rp_filter" for name in interfaces)
    for path in (*FIXED_SETTINGS, *own):
        try:
            yield path, (SYSCTL / path).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue


Chains = list[ArrivalChain] | None


def _arrivals(unseen: list[str]) -> tuple[Chains, Chains]:
    if os.geteuid() != 0:
        unseen.append("what the packet filter does to packets that arrive (only root may)")
        return None, None
    if any(_has_tables(path) for path in LEGACY_TABLES):
        unseen.append("what rules of iptables-legacy do to packets that arrive")
    try:
        return read_arrivals(nf.NF_INET_LOCAL_IN), read_arrivals(nf.NF_INET_FORWARD)
    except TooManyRulesError:
        unseen.append(f"the chains for packets that arrive: more than {MOST_RULES} rules in one")
    except OSError as error:
        unseen.append(f"what the packet filter does to packets that arrive ({reason(error)})")
    return None, None


def _has_tables(path: Path) -> bool:
    try:
        return bool(path.read_text(encoding="ascii", errors="replace").strip())
    except OSError:
        return False
