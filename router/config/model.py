"""The content of a valid rules.yaml.

Always true: every value that a problem may be reported about has its Place; addresses are
integers (a million prefixes as objects of their own would cost a gigabyte); rule indices count
from 1 and 0 stands for the default.

Must not know: YAML, files, the state of the system, or how lookups work.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address
from itertools import chain
from typing import NamedTuple

from router.config.packed import LENGTH_BITS
from router.config.schema import DEFAULT_ICMP, DEFAULT_USER
from router.wire.socks5 import Credentials


class Place(NamedTuple):
    """Where a value stands: lines and columns count from 1, width in characters (for carets)."""

    file: str
    line: int
    column: int
    width: int = 1


class PolicyType(StrEnum):
    DIRECT = "direct"
    VPN = "vpn"
    SOCKS5 = "socks5"
    REPLY = "reply"
    DROP = "drop"
    REJECT = "reject"
    BYPASS = "bypass"


BUILT_IN = (PolicyType.REPLY, PolicyType.DROP, PolicyType.REJECT, PolicyType.BYPASS)
"""Types that are policies by themselves and that rules name directly."""


class Path(StrEnum):
    """How packets of programs on this machine get from the TUN to the outbound."""

    AUTO = "auto"
    """Unchanged where nothing of the host could see a difference, else as with RELAY."""
    RELAY = "relay"
    """Translated, by sockets of the router."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """What a policy of type socks5 says about its proxy.

    host: an address without brackets, or a name. credentials: user name and password, which no text
    shows. via: the policy by which the proxy is reached; None: the system's own routes. icmp: the
    policy that ICMP gets in its place. Places do not count in a comparison.
    """

    host: str
    port: int
    credentials: Credentials | None = None
    via: str | None = None
    udp: bool = True
    icmp: str = DEFAULT_ICMP
    place: Place | None = field(default=None, compare=False)
    via_place: Place | None = field(default=None, compare=False)
    icmp_place: Place | None = field(default=None, compare=False)
    resolved: tuple[bytes, ...] = field(default=(), compare=False)
    """The addresses that the name had when the rules were read, where they are to be run."""

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """Of the proxy; None where it has a name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        """As in the file."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy. `interface` is None for built-in ones and proxies, `on_down` for built-in ones;
    `proxy` is there for type socks5 alone."""

    name: str
    type: PolicyType
    place: Place | None = None
    interface: str | None = None
    interface_place: Place | None = None
    on_down: str | None = None
    on_down_place: Place | None = None
    path: Path = Path.AUTO
    proxy: Proxy | None = None


class Prefix(NamedTuple):
    """One CIDR written in the rules file itself. `first` has its host bits cleared."""

    version: int
    first: int
    length: int
    place: Place


class Range(NamedTuple):
    """A range of addresses that is no single network, and stands as `a - b` where `place` says.

    `packed`: the fewest networks that it is, ascending.
    """

    version: int
    packed: tuple[int, ...]
    place: Place

    @property
    def first(self) -> int:
        return self.packed[0] >> LENGTH_BITS

    @property
    def last(self) -> int:
        packed, bits = self.packed[-1], 32 if self.version == 4 else 128
        return packed >> LENGTH_BITS | (1 << bits - (packed & 0xFF)) - 1

    def __str__(self) -> str:
        """As in 192.0.2.10-192.0.2.99."""
        address = IPv4Address if self.version == 4 else IPv6Address
        return f"{address(self.first)}-{address(self.last)}"


@dataclass(slots=True)
class PrefixList:
    """The CIDRs of one list file, packed (see LENGTH_BITS), in the order of the file.

    `lines_v4[i]` is the line of `v4[i]`. Ranges stand apart.
    """

    file: str
    v4: array[int] = field(default_factory=lambda: array("Q"))
    v6: list[int] = field(default_factory=list)
    lines_v4: array[int] = field(default_factory=lambda: array("I"))
    lines_v6: array[int] = field(default_factory=lambda: array("I"))
    ranges: list[Range] = field(default_factory=list)

    def packed(self, version: int) -> array[int] | list[int]:
        """The CIDRs of one family, without those that ranges are."""
        return self.v4 if version == 4 else self.v6

    @property
    def size(self) -> int:
        """How many networks there are, without those of ranges."""
        return len(self.v4) + len(self.v6)

    @property
    def empty(self) -> bool:
        return not (self.v4 or self.v6 or self.ranges)

    def place(self, version: int, position: int) -> Place:
        lines = self.lines_v4 if version == 4 else self.lines_v6
        return Place(self.file, lines[position], 1)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. An empty `protocols` or `ports` means any; ports are inclusive ranges.

    `text` is the rule as it stands in the file, on one line, for people to read.
    """

    index: int
    place: Place
    policy: str
    policy_place: Place
    prefixes: tuple[Prefix, ...] = ()
    ranges: tuple[Range, ...] = ()
    lists: tuple[PrefixList, ...] = ()
    protocols: frozenset[str] = frozenset()
    ports: tuple[tuple[int, int], ...] = ()
    text: str = ""

    @property
    def conditional(self) -> bool:
        """Whether the rule has conditions besides the destination address."""
        return bool(self.protocols or self.ports)

    def packed(self, version: int) -> Iterator[int]:
        """All prefixes of one family, packed, with repetitions: CIDRs, then those of ranges."""
        of_ranges = chain.from_iterable(each.packed for each in self.all_ranges(version))
        return chain(self.cidrs(version), of_ranges)

    def cidrs(self, version: int) -> Iterator[int]:
        """The CIDRs of one family, packed, with repetitions, in the order of the file."""
        own = (
            prefix.first << LENGTH_BITS | prefix.length
            for prefix in self.prefixes
            if prefix.version == version
        )
        return chain(own, *(prefix_list.packed(version) for prefix_list in self.lists))

    def all_ranges(self, version: int) -> Iterator[Range]:
        """The ranges of one family, of the rules file and of the lists."""
        for ranges in (self.ranges, *(prefix_list.ranges for prefix_list in self.lists)):
            yield from (each for each in ranges if each.version == version)


@dataclass(frozen=True, slots=True)
class Tun:
    """The TUN device as configured. `name` None: the system chooses one; addresses are ours."""

    name: str | None
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    mtu: int
    place: Place | None = None
    address_places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Web:
    """Where the web process listens.

    host: an address without brackets. token: what clients have to send, which no text shows; None:
    nothing; empty: it is not known to this user. Places do not count in a comparison.
    """

    host: str
    port: int
    token: str | None = field(default=None, repr=False)
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole rules file. `policies` holds the built-in ones too."""

    file: str
    tun: Tun
    policies: Mapping[str, Policy]
    rules: tuple[Rule, ...]
    default: str
    default_place: Place | None = None
    user: str = DEFAULT_USER
    """Whose rights the running router has."""
    user_place: Place | None = None
    web: Web | None = None
