"""Rules of a packet filter as plain data: what a rule does, and the conditions that can be decided.

A rule is a sequence of steps, in the order of nftables' virtual machine. A condition that cannot be
decided is no step, so a rule without conditions may match every packet.

Always true: leaving a condition out never hides an obstacle.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple


class Effect(Enum):
    """What a rule does to packets besides accepting them, as a clause about it; the gravest first,
    then what is no obstacle, and last what only rules for arriving packets do."""

    TRANSLATES = "translates addresses or ports of what leaves"
    ENCRYPTS = "encrypts or refuses what leaves"
    ALTERS = "changes or marks what leaves"
    QUEUES = "hands what leaves to a program"
    COPIES = "copies or redirects what leaves"
    UNKNOWN = "does something unknown to tunrouter to what leaves"
    LIMITS = "counts what leaves in order to limit it"
    INSPECTS = "looks at the length or content of what leaves"
    LOGS = "logs what leaves"
    COUNTS = "counts what leaves"
    MATCHES_OWNER = "looks at the owner of what leaves"
    SETS_MARK = "sets the mark or priority of what leaves"
    REFUSES_MARK = "refuses what has a mark or priority"
    REFUSES = "refuses some of what leaves"
    IS_UNREPORTED = "can change without a report"
    SEES_EGRESS = "sees each packet that leaves by the interface"
    CHECKS_PATH = "drops what arrives by another interface than the route to its sender"


RTN_LOCAL: Final = (2).to_bytes(4, sys.byteorder)
"""As Field.DESTINATION_TYPE has it: an address of the machine itself."""


class Field(Enum):
    """What a register is loaded with, as far as it can be known before a packet leaves."""

    INTERFACE_NAME = 1
    """16 bytes, padded by zero bytes (IFNAMSIZ)."""
    INTERFACE_INDEX = 2
    """4 bytes of the machine's byte order."""
    VERSION = 3
    """The NFPROTO_ number of the IP version, 1 byte."""
    NETWORK_HEADER = 4
    DESTINATION_TYPE = 5
    """The type of the route to the destination (RTN_ in rtnetlink(7)), 4 bytes of the machine's
    byte order."""
    MARK = 6
    """The mark or priority, which a program may set: 4 bytes of the machine's byte order."""
    OTHER = 7


class Load(NamedTuple):
    """Load a register; of NETWORK_HEADER `length` bytes from `offset` on."""

    register: int
    field: Field
    offset: int = 0
    length: int = 0


class Mask(NamedTuple):
    """target = source & mask ^ flip."""

    source: int
    target: int
    mask: bytes
    flip: bytes


class Compare(NamedTuple):
    """Go on only if the first bytes of the register are the value, or are not."""

    register: int
    value: bytes
    equal: bool = True


class Jump(NamedTuple):
    """Go on in another chain, with or without return."""

    chain: str


class Branch(NamedTuple):
    """Of a verdict map: the verdict, and the value of the register that leads there; None:
    unknown."""

    verdict: Jump | Effect
    value: bytes | None = None


class Choose(NamedTuple):
    """A verdict by a verdict map."""

    register: int
    branches: Sequence[Branch]


Step = Effect | Load | Mask | Compare | Jump | Choose
Rule = Sequence[Step]


def targets(rule: Rule) -> Iterator[str]:
    """The chains that a rule may lead to, whatever its conditions."""
    for step in rule:
        if isinstance(step, Jump):
            yield step.chain
        elif isinstance(step, Choose):
            yield from targets([branch.verdict for branch in step.branches])


class Table(NamedTuple):
    """Chains that can jump to each other.

    words: names it for people; `versions` of IP whose packets it sees; `chains` are rules by the
    name of the chain; `outgoing` are the chains that see all packets that leave, `incoming` those
    that see all that arrive (prerouting).
    """

    words: str
    versions: Sequence[int]
    chains: Mapping[str, Sequence[Rule]]
    outgoing: Sequence[str]
    incoming: Sequence[str] = ()


class DirectOutput(NamedTuple):
    """Where packets of the direct path leave: an interface, and their possible sources.

    tun: the name of the TUN, by which a program's packets leave first; empty where it is not known.
    """

    interface: str
    index: int  # type: ignore[assignment]  # no tuple to search in
    sources: Sequence[IPv4Address | IPv6Address]
    tun: str = ""


def reverse_path_remedy(version: int) -> str:
    """What to do about a rule that checks the reverse path strictly (HostRules.path_checks)."""
    loose = "let the rule look for any route: 'fib saddr oif missing drop', or rpfilter --loose"
    if version == 4:
        return loose
    return f"with firewalld set IPv6_rpfilter=loose in /etc/firewalld/firewalld.conf; else {loose}"


MARK_REMEDY: Final = (
    "let the rule match what leaves by the TUN too: leave its interface out, or add the TUN's"
)
"""What to do about a rule that does not see a program's mark (HostRules.mark_checks)."""
OWNER_REMEDY: Final = (
    f"{MARK_REMEDY}; "
    "where only some owners are let through, let root through by the outbound's interface"
)
"""What to do about a rule that does not see the owner (HostRules.owner_checks)."""


def owner_words(interface: str, clause: str) -> str:
    """What a rule of HostRules.owner_checks means."""
    return f"{clause}: by {interface} that is the router, whichever program has sent it"


def mark_words(interface: str, clause: str) -> str:
    """What a rule of HostRules.mark_checks means."""
    return f"{clause}: by {interface} packets have none that a program has set, and are let through"


class HostRules(NamedTuple):
    """What the host's own rules mean for the router.

    obstacles: why the direct path cannot be proven safe, as one clause for people: by the name of
    each interface where it cannot. translates_requests: whether requests of other hosts may get
    another destination (DNAT), so that their answers may. path_checks: by IP version, the rules
    that drop what arrives by another interface than the route to its sender, as one clause.
    owner_checks: by the name of an interface, the rules that look at the owner (user, group or
    control group) of what leaves by that and not of what leaves by others, as one clause: by the
    TUN the owner is the program, afterwards the router. refusals: by the name of an interface, why
    packets that leave by it have to be shown to the rules one by one, as one clause; where an
    obstacle is, there may be none. mark_checks: by the name of an interface, the rules that refuse
    packets for a mark or priority, and do not see the TUN, as one clause: of what a program has set
    nothing is left behind it.
    """

    obstacles: Mapping[str, str] = {}
    translates_requests: bool = False
    path_checks: Mapping[int, str] = {}
    owner_checks: Mapping[str, str] = {}
    refusals: Mapping[str, str] = {}
    mark_checks: Mapping[str, str] = {}

    @property
    def obstacle(self) -> str | None:
        """One of any interface."""
        return next(iter(self.obstacles.values()), None)
