"""Rules of the host that mark, alter and count what leaves by an outbound's interface, in three
languages, and counters of what arrives at the other end of the link.

Each of them is about one far host and one interface, and does the same to what is sent there: it
sets a mark, which a later rule counts and the system routes by, the traffic class CLASS, and the
mark CT_MARK of the connection, by which answers are counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final, NamedTuple, Protocol

from tests.e2e.direct.second_gateway import ADDRESS, LINK
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.wait import wait_until

MARKS: Final = {"eth0": 7, "wg0": 8}
"""By the interface; they are also the numbers of tables, plus 100."""
CT_MARK, CLASS = 9, "cs5"
PROTOCOLS: Final = ("icmp", "udp", "tcp")
SAVED: Final = re.compile(r"\[(\d+):(\d+)\] -A \w+ .*--comment (\w+)")
OF_VERSION: Final = {4: ("ip", "icmp"), 6: ("ip6", "ipv6-icmp")}


class Counted(NamedTuple):
    packets: int
    bytes: int


class Target(NamedTuple):
    """What is sent to a far host. interface: of the router; last: the number of the host."""

    family: Family
    last: int
    interface: str

    def key(self, kind: str) -> str:
        """The name of a counter."""
        return f"v{self.family.version}_{self.last}_{kind}"

    @property
    def address(self) -> str:
        return self.family.far(self.last)

    @property
    def mark(self) -> int:
        return MARKS[self.interface]


Counters = dict[str, Counted]


class Language(Protocol):
    """Rules for targets. counters: by Target.key of a protocol, of what leaves with the mark,
    and of "answers" other than TCP's."""

    def lay(self, host: Namespace, targets: Iterable[Target]) -> None: ...

    def remove(self, host: Namespace) -> None: ...

    def counters(self, host: Namespace) -> Counters: ...


def _named_counters(host: Namespace) -> Counters:
    found = json.loads(host.run("nft", "-j", "list", "counters").stdout)["nftables"]
    entries = (each["counter"] for each in found if "counter" in each)
    return {each["name"]: Counted(each["packets"], each["bytes"]) for each in entries}


class Nft:
    def lay(self, host: Namespace, targets: Iterable[Target]) -> None:
        counters, marking, counting, answers = [], [], [], []
        for each in targets:
            ip, icmp = OF_VERSION[each.family.version]
            leaves = f'oifname "{each.interface}" {ip} daddr {each.address}'
            counters += [f"counter {each.key(kind)} {{ }}" for kind in (*PROTOCOLS, "answers")]
            marking.append(
                f"{leaves} meta mark set {each.mark} ct mark set {CT_MARK} {ip} dscp set {CLASS}"
            )
            counting += [
                f"{leaves} meta mark {each.mark} meta l4proto {icmp if kind == 'icmp' else kind} "
                f"counter name {each.key(kind)}"
                for kind in PROTOCOLS
            ]
            answers.append(
                f'iifname "{each.interface}" {ip} saddr {each.address} ct mark {CT_MARK} '
                f"meta l4proto != tcp counter name {each.key('answers')}"
            )
        host.run(
            *("nft", "-f", "-"),
            stdin=_table(
                counters,
                output=("type route hook output priority mangle", marking),
                postrouting=("type filter hook postrouting priority 0", counting),
                input=("type filter hook input priority 0", answers),
            ),
        )

    def remove(self, host: Namespace) -> None:
        host.run("nft", "delete", "table", "inet", "marking")

    def counters(self, host: Namespace) -> Counters:
        return _named_counters(host)


class Iptables:
    """variant: nft or legacy."""

    def __init__(self, variant: str) -> None:
        self._variant = variant

    def lay(self, host: Namespace, targets: Iterable[Target]) -> None:
        targets = list(targets)
        for family in FAMILIES:
            lines = [line for each in targets if each.family is family for line in _saved(each)]
            text = "\n".join(["*mangle", *lines, "COMMIT", ""])
            host.run(self._program(family, "restore"), stdin=text)

    def remove(self, host: Namespace) -> None:
        for family in FAMILIES:
            host.run(self._program(family, "restore"), stdin="*mangle\nCOMMIT\n")

    def counters(self, host: Namespace) -> Counters:
        found = "".join(
            host.run(self._program(family, "save"), "-c", "-t", "mangle").stdout
            for family in FAMILIES
        )
        return {
            name: Counted(int(number), int(size)) for number, size, name in SAVED.findall(found)
        }

    def _program(self, family: Family, action: str) -> str:
        name = "iptables" if family.version == 4 else "ip6tables"
        return f"{name}-{self._variant}-{action}"


def _saved(target: Target) -> Iterator[str]:
    """As iptables-save has them. The traffic class of TCP is set by the other target for it."""
    _, icmp = OF_VERSION[target.family.version]
    leaves = f"-o {target.interface} -d {target.address}"
    yield f"-A OUTPUT {leaves} -j MARK --set-mark {target.mark}"
    yield f"-A OUTPUT {leaves} -j CONNMARK --set-mark {CT_MARK}"
    yield f"-A OUTPUT {leaves} ! -p tcp -j DSCP --set-dscp-class {CLASS}"
    yield f"-A OUTPUT {leaves} -p tcp -j TOS --set-tos 0xa0/0xfc"
    for kind in PROTOCOLS:
        yield (
            f"-A POSTROUTING {leaves} -p {icmp if kind == 'icmp' else kind} "
            f"-m mark --mark {target.mark} -m comment --comment {target.key(kind)}"
        )
    yield (
        f"-A INPUT -i {target.interface} -s {target.address} ! -p tcp -m connmark --mark {CT_MARK} "
        f"-m comment --comment {target.key('answers')}"
    )


LANGUAGES: Final[dict[str, Language]] = {
    "nft": Nft(),
    "iptables-nft": Iptables("nft"),
    "iptables-legacy": Iptables("legacy"),
}
"""The tables of the last one stay as long as their namespace."""


@contextmanager
def laid(bed: Testbed, language: Language, targets: Iterable[Target]) -> Iterator[None]:
    """What has the mark of the home network's interface goes by the second gateway."""
    with ExitStack() as stack:
        for family in FAMILIES:
            routes = {"eth0": f"via {ADDRESS[family.version]} dev eth0", "wg0": "dev wg0"}
            for interface, mark in MARKS.items():
                ip, table = ("ip", f"-{family.version}"), str(100 + mark)
                rule = (*ip, "rule", "{}", "fwmark", str(mark), "lookup", table)
                route = ("default", *routes[interface].split(), "table", table)
                bed.router.run(*ip, "route", "add", *route)
                stack.callback(bed.router.run, *ip, "route", "flush", "table", table)
                bed.router.run(*(each.format("add") for each in rule))
                stack.callback(bed.router.run, *(each.format("del") for each in rule))
        language.lay(bed.router, targets)
        stack.callback(language.remove, bed.router)
        yield


@contextmanager
def counting_arrivals(bed: Testbed, targets: Iterable[Target]) -> Iterator[None]:
    """At the other end of the link: by protocol what has CLASS and comes by the second gateway, and
    "others"."""
    targets = list(targets)
    with ExitStack() as stack:
        for interface in MARKS:
            those = [each for each in targets if each.interface == interface]
            lines = [line for each in those for line in _arrival(each)]
            kinds = (*PROTOCOLS, "others")
            counters = [f"counter {each.key(kind)} {{ }}" for each in those for kind in kinds]
            chain = ("type filter hook prerouting priority 0", lines)
            host = _other_end(bed, interface)
            host.run("nft", "-f", "-", stdin=_table(counters, prerouting=chain))
            stack.callback(host.run, "nft", "delete", "table", "inet", "marking")
        yield


def _other_end(bed: Testbed, interface: str) -> Namespace:
    return {"eth0": bed.gw, "wg0": bed.vpn}[interface]


def _arrival(target: Target) -> Iterator[str]:
    ip, icmp = OF_VERSION[target.family.version]
    link = LINK if target.interface == "eth0" else target.interface
    for kind in PROTOCOLS:
        yield (
            f'iifname "{link}" {ip} daddr {target.address} {ip} dscp {CLASS} '
            f"meta l4proto {icmp if kind == 'icmp' else kind} "
            f"counter name {target.key(kind)} accept"
        )
    yield f"{ip} daddr {target.address} counter name {target.key('others')}"


def _table(counters: Iterable[str], **chains: tuple[str, Iterable[str]]) -> str:
    lines = [*counters]
    for name, (hook, rules) in chains.items():
        lines += [f"chain {name} {{", hook, *rules, "}"]
    return "\n".join(["table inet marking {", *lines, "}", ""])


class Seen:
    """What is counted of a target from when this is made on."""

    def __init__(self, bed: Testbed, language: Language, target: Target) -> None:
        self._left = partial(language.counters, bed.router)
        self._arrived = partial(_named_counters, _other_end(bed, target.interface))
        self._target = target
        self._left_before, self._arrived_before = self._left(), self._arrived()

    def left(self, kind: str) -> Counted:
        return self._since(self._left(), self._left_before, kind)

    def arrived(self, kind: str) -> Counted:
        return self._since(self._arrived(), self._arrived_before, kind)

    def wait_until_all_arrived(self, kind: str) -> None:
        """Where nothing is cut on its way."""
        wait_until(
            lambda: self.left(kind) == self.arrived(kind),
            f"all of {kind}",
            detail=lambda: f"{self.left(kind)} left, {self.arrived(kind)} arrived",
        )

    def _since(self, now: Counters, before: Counters, kind: str) -> Counted:
        key = self._target.key(kind)
        return Counted(now[key].packets - before[key].packets, now[key].bytes - before[key].bytes)
