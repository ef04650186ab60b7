"""Checks of the kernel, of rights, devices and settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from router.policy.machine.facts import LINUX, Facts, TunDevice
from router.policy.machine.result import Result, Status

OLDEST_KERNEL: Final = (5, 7)
NEEDED: Final = ("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SETUID", "CAP_SETGID")
COUNTING: Final = "CAP_BPF"
"""Or CAP_SYS_ADMIN before Linux 5.8, which the reader takes for it."""
TUN_DEVICE: Final = "/dev/net/tun"
STRICT, LOOSE = "1", "2"
ALL_RP_FILTER: Final = "net/ipv4/conf/all/rp_filter"
FOR_NEW: Final = {
    "net/ipv4/conf/default/rp_filter": LOOSE,
    "net/ipv6/conf/default/disable_ipv6": "0",
    "net/ipv6/conf/default/addr_gen_mode": "1",
}
"""What a new interface has of its own accord where these are so, and run would else write: see
router.platform.linux.tun_interface.settings."""
DEVICE_REMEDIES: Final = {
    TunDevice.ABSENT: "load the kernel module (modprobe tun)",
    TunDevice.REFUSED: "allow root to open it: `ls -l /dev/net/tun`, and the security modules",
    TunDevice.FAILED: "load the kernel module (modprobe tun), or restart after a kernel update",
}


def kernel(facts: Facts) -> Result:
    machine = facts.machine
    if machine.system != LINUX:
        return Result(
            "kernel",
            Status.MISSING,
            f"{machine.system} {machine.release}: tunrouter does not run on it",
            "run it on Linux, or on macOS",
        )
    found = f"Linux {machine.release}"
    if machine.kernel < OLDEST_KERNEL:
        oldest = "{}.{}".format(*OLDEST_KERNEL)
        return Result(
            "kernel",
            Status.MISSING,
            f"{found} is older than {oldest}",
            f"install Linux {oldest} or newer",
        )
    return Result("kernel", Status.OK, found)


def rights(facts: Facts) -> Result:
    machine = facts.machine
    lacking = [name for name in NEEDED if name in machine.lacking]
    if lacking:
        return Result(
            "rights",
            Status.MISSING,
            f"root has no {', '.join(lacking)} here",
            _start_with(name for name in (*NEEDED, COUNTING) if name in machine.lacking)
            if machine.container
            else "allow it: CapabilityBoundingSet= of the service, or what has started this shell",
        )
    if not machine.is_root:
        return Result(
            "rights",
            Status.WARNING,
            "this user is not root, which `run` needs",
            "sudo tunrouter run; and sudo tunrouter selftest, which sees more",
        )
    if COUNTING in machine.lacking:
        return Result(
            "rights",
            Status.WARNING,
            f"no {COUNTING}: `status` shows no answers to packets that leave directly",
            _start_with([COUNTING])
            if machine.container
            else f"allow {COUNTING} as well, where these numbers are wanted",
        )
    return Result("rights", Status.OK, "root, with all capabilities that `run` needs")


def _start_with(capabilities: Iterable[str]) -> str:
    """The options of container engines."""
    options = (f"--cap-add {name.removeprefix('CAP_')}" for name in capabilities)
    return f"start the container with {' '.join(options)}"


def tun(facts: Facts) -> Result:
    device = facts.machine.tun
    if device is TunDevice.USABLE:
        return Result("tun", Status.OK, f"{TUN_DEVICE}: {device.value}")
    status = Status.MISSING
    if device is TunDevice.REFUSED and not facts.machine.is_root:
        return Result(
            "tun",
            Status.WARNING,
            f"{TUN_DEVICE}: {device.value} by this user",
            "sudo tunrouter selftest shows whether root may",
        )
    inside = facts.machine.container
    remedy = (
        f"start the container with --device {TUN_DEVICE}" if inside else DEVICE_REMEDIES[device]
    )
    return Result("tun", status, f"{TUN_DEVICE}: {device.value}", remedy)


def container(facts: Facts) -> Result:
    kind = facts.machine.container
    if kind is None:
        return Result("container", Status.OK, "this seems to be no container")
    return Result("container", Status.OK, f"this is a container ({kind}): the checks are of it")


def settings(facts: Facts) -> Result:
    """Whether what `run` sets can be set, or is so already."""
    machine = facts.machine
    if not machine.has_read_only_settings:
        return Result("proc-sys", Status.OK, "settings below /proc/sys/net can be written")
    others = [
        path for path, wanted in FOR_NEW.items() if machine.settings.get(path) not in (None, wanted)
    ]
    if not others:
        return Result(
            "proc-sys",
            Status.OK,
            "/proc/sys is read-only, and has what a TUN device needs already",
        )
    options = " ".join(f"--sysctl {_name(path)}={FOR_NEW[path]}" for path in others)
    return Result(
        "proc-sys",
        Status.MISSING,
        f"/proc/sys is read-only: `run` cannot set {', '.join(map(_name, others))}",
        f"mount it writable, or start the container with {options}",
    )


def rp_filter(facts: Facts) -> Result:
    """Strict on a way out the answers to what is captured are dropped, unless `run` loosens it."""
    strict = list(_strict(facts))
    if not strict:
        return Result("rp-filter", Status.OK, "not strict on any way out")
    names = ", ".join(strict)
    if facts.machine.has_read_only_settings:
        options = " ".join(f"--sysctl net.ipv4.conf.{name}.rp_filter={LOOSE}" for name in strict)
        return Result(
            "rp-filter",
            Status.MISSING,
            f"strict on {names}, and `run` cannot change it: answers would be dropped",
            f"start the container with --sysctl net.ipv4.conf.all.rp_filter={LOOSE}, or {options}",
        )
    return Result(
        "rp-filter",
        Status.OK,
        f"strict on {names}: `run` makes it loose there, and puts it back when it ends",
    )


def _strict(facts: Facts) -> Iterator[str]:
    """The effective value is the greater one of `all` and the interface's own."""
    names = sorted({way.interface for way in facts.ways if way.interface is not None})
    of_all = facts.setting(ALL_RP_FILTER)
    for name in names:
        own = facts.setting(f"net/ipv4/conf/{name}/rp_filter")
        if STRICT in (of_all, own) and LOOSE not in (of_all, own):
            yield name


def forwarding(facts: Facts) -> Result:
    found = {
        "IPv4": facts.setting("net/ipv4/ip_forward"),
        "IPv6": facts.setting("net/ipv6/conf/all/forwarding"),
    }
    off = [name for name, value in found.items() if value == "0"]
    if not off:
        return Result("forwarding", Status.OK, "on: packets of other hosts are routed too")
    names = " and ".join(off)
    switches = {"IPv4": "net.ipv4.ip_forward=1", "IPv6": "net.ipv6.conf.all.forwarding=1"}
    return Result(
        "forwarding",
        Status.OK,
        f"off for {names}: programs of this machine need none, other hosts do",
        f"as a gateway: sysctl -w {' '.join(switches[name] for name in off)}",
    )


def ipv6(facts: Facts) -> Result:
    if facts.setting("net/ipv6/conf/default/disable_ipv6") is None:
        return Result(
            "ipv6",
            Status.WARNING,
            "the kernel has no IPv6: nothing of it is captured or carried",
            "start it without ipv6.disable=1, if IPv6 is wanted",
        )
    if facts.setting("net/ipv6/conf/all/disable_ipv6") == "1":
        return Result(
            "ipv6",
            Status.WARNING,
            "IPv6 is disabled: no way out has an address of it",
            "sysctl -w net.ipv6.conf.all.disable_ipv6=0, if IPv6 is wanted",
        )
    if not any(6 in way.sources for way in facts.ways):
        return Result(
            "ipv6",
            Status.WARNING,
            "no way out has a global IPv6 address: what rules send there is refused",
            "connect to a network that has it, if it is wanted",
        )
    return Result("ipv6", Status.OK, "there is a way out for it")


def _name(path: str) -> str:
    return path.replace("/", ".")
