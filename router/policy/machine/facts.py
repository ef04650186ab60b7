"""What is read of a machine, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from router.policy.findings.situation import Situation
from router.policy.machine.arrivals import ArrivalChain
from router.policy.network import Network

LINUX, DARWIN = "Linux", "Darwin"


class Resolver(NamedTuple):
    """servers: IP version and address. domain: the only one that it is asked about; empty: any.
    interface: that of its `if_index`; is_scoped: asked only about what is bound to that."""

    servers: tuple[tuple[int, int], ...]
    domain: str = ""
    interface: str = ""
    is_scoped: bool = False


class TunDevice(Enum):
    """What happens when the device that TUN interfaces are made of is opened."""

    USABLE = "it can be opened"
    ABSENT = "it does not exist"
    REFUSED = "it may not be opened"
    FAILED = "it cannot be opened"


@dataclass(frozen=True, slots=True)
class Machine:
    """system, release: as uname(1) has them; kernel: the first two numbers of `release`.

    lacking: capabilities that no process of this user, or of root where it is not root, can have.
    container: what kind of container this is; None: it seems to be none.
    settings: sysctls by their path below /proc/sys, those that could be read.
    arrivals, forwarded: the chains that judge what arrives here, and what is forwarded; None: they
    could not be read.
    modules: the Python packages that were found of those that single commands need; programs:
    likewise.
    scoped_defaults: by interface, the IP versions of which it has a default route that sockets
    bound to it use; of macOS, as are the resolvers.
    unseen: a clause for each thing that could not be read, and why.
    """

    system: str = LINUX
    release: str = ""
    kernel: tuple[int, int] = (0, 0)
    is_root: bool = True
    lacking: frozenset[str] = frozenset()
    tun: TunDevice = TunDevice.USABLE
    container: str | None = None
    has_read_only_settings: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    arrivals: Sequence[ArrivalChain] | None = ()
    forwarded: Sequence[ArrivalChain] | None = ()
    modules: frozenset[str] = frozenset()
    programs: frozenset[str] = frozenset()
    scoped_defaults: Mapping[str, frozenset[int]] = field(default_factory=dict)
    resolvers: Sequence[Resolver] = ()
    unseen: tuple[str, ...] = ()


class WayOut(NamedTuple):
    """A way out of this machine: that of a policy, or without rules an interface.

    interface: None where it has none at present; why: then what it lacks, one clause.
    sources, gateways: by IP version, as text; without a gateway where hosts are on the link.
    """

    name: str
    interface: str | None
    mtu: int = 0
    sources: Mapping[int, str] = {}
    gateways: Mapping[int, str] = {}
    why: str = ""
    otherwise: str = ""
    """What applies meanwhile: the policy's `on_down`."""
    to: str = ""
    """The proxy that it leads to, in words."""


class Facts(NamedTuple):
    """situation: rules and network; None where no rules were given, or they have errors."""

    machine: Machine
    network: Network
    ways: Sequence[WayOut] = ()
    situation: Situation | None = None

    @property
    def tun_name(self) -> str:
        """The one that the rules name, or that the system would pick most likely."""
        named = self.situation.config.tun.name if self.situation else None
        return named or "tun0"

    def setting(self, path: str) -> str | None:
        return self.machine.settings.get(path)
