"""From the names of another program's policies to policies here.

A group leads to one of its members: a `select` or `fallback` group to the first, which is what its
program takes unless another is selected or the first fails; one that measures, to what all its
members lead to alike. What has no counterpart becomes `reject`, so that its traffic goes nowhere
until the user has replaced it; it is never left to the next rule.

Always true: names are followed without end only as far as they do not lead back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from router.config.foreign.model import (
    Choice,
    Fixed,
    Group,
    Imported,
    InterfaceWay,
    ProxyWay,
    Skipped,
    Unsupported,
    shortened,
)
from router.config.interfaces import MAXIMUM_ALTERNATIVE_NAME, interface_fault
from router.config.problems import quoted
from router.config.schema import MAXIMUM_PORT
from router.config.socks5 import fault_of_host
from router.config.writing import (
    policy_name,
    scalar,
    server_text,
    variable_name,
)
from router.wire.socks5 import MOST_CREDENTIAL_BYTES

Outcome = Fixed | InterfaceWay | ProxyWay | Skipped | Unsupported
"""What a name leads to."""
TUNNEL: Final = re.compile(r"u?tun\d|tap\d|wg|ppp\d|ipsec\d|tailscale|zt")
"""Names of interfaces that come and go."""
DEEPEST: Final = 64
"""Groups of groups."""


@dataclass(slots=True)
class Policies:
    """The policies here, made as rules name them. `lines`: of the section `policies:`, by name.

    What leads to nothing is noted once, if it has a line."""

    imported: Imported
    lines: dict[str, str] = field(default_factory=dict)
    _named: dict[InterfaceWay | ProxyWay, str] = field(default_factory=dict)
    _outcomes: dict[str, Outcome] = field(default_factory=dict)
    _followed: dict[str, Outcome] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)
    _reduced: set[str] = field(default_factory=set)

    def outcome(self, name: str) -> Outcome:
        """What a name leads to."""
        if name not in self._outcomes:
            self._outcomes[name] = self._outcome(name)
        return self._outcomes[name]

    def _outcome(self, name: str) -> Outcome:
        found = self._follow(name, ())
        if isinstance(found, InterfaceWay | ProxyWay):
            fault = self._fault(found)
            found = found if fault is None else Unsupported(found.name, fault, found.line)
        if isinstance(found, Unsupported) and found.line and found.name not in self._refused:
            self._refused.add(found.name)
            self.imported.note(found.line, f"the policy {found.name}", found.why)
        return found

    def name_of(self, way: InterfaceWay | ProxyWay) -> str:
        """The policy here for a way out that has no fault."""
        if way not in self._named:
            otherwise = "proxy" if isinstance(way, ProxyWay) else "interface"
            name = policy_name(way.name, otherwise, self.lines)
            self._named[way] = name
            self.lines[name] = ""  # its place in the order, and its name, are taken
            self.lines[name] = (
                self._proxy(name, way) if isinstance(way, ProxyWay) else _interface(way)
            )
        return self._named[way]

    def _follow(self, name: str, way_here: tuple[str, ...]) -> Outcome:
        """The same by every way to it, but for the name of a group that leads back to itself."""
        if name not in self._followed:
            self._followed[name] = self._follow_new(name, way_here)
        return self._followed[name]

    def _follow_new(self, name: str, way_here: tuple[str, ...]) -> Outcome:
        found = self.imported.definitions.get(name)
        if found is None:
            return Unsupported(name, "no policy of that name is defined", 0)
        if not isinstance(found, Group):
            return found
        if name in way_here:
            return Unsupported(name, "the group leads back to itself", found.line)
        if len(way_here) > DEEPEST:
            return Unsupported(name, f"more than {DEEPEST} groups lead to it", found.line)
        return self._of_group(found, (*way_here, name))

    def _of_group(self, group: Group, way_here: tuple[str, ...]) -> Outcome:
        if not group.members:
            return Unsupported(group.name, f"the group ({group.kind}) names no member", group.line)
        if group.choice is Choice.FIRST:
            self._note_choice(group)
            return self._follow(group.members[0], way_here)
        outcomes = list(dict.fromkeys(self._follow(each, way_here) for each in group.members))
        if len(outcomes) == 1 and group.complete:
            return outcomes[0]
        why = f"the group ({group.kind}) chooses among different members while it runs"
        return Unsupported(group.name, why, group.line)

    def _note_choice(self, group: Group) -> None:
        others = len(set(group.members)) - 1 + (not group.complete)
        if not others or group.name in self._reduced:
            return
        self._reduced.add(group.name)
        self.imported.note_change(
            group.line,
            f"the group {group.name} ({group.kind})",
            f"its first member, {shortened(group.members[0])}, is always taken",
        )

    def _fault(self, way: InterfaceWay | ProxyWay, above: tuple[str, ...] = ()) -> str | None:
        """Why a way out cannot be written as a policy."""
        interface = way.interface
        if interface is not None:
            fault = interface_fault(interface, MAXIMUM_ALTERNATIVE_NAME)
            if fault is not None:
                return f"its interface {quoted(interface)} {fault}"
        if isinstance(way, InterfaceWay):
            return None
        fault = fault_of_host(way.host)
        if fault is not None:
            return f"its server {quoted(way.host)} {fault}"
        if not 1 <= way.port <= MAXIMUM_PORT:
            return f"its port {way.port} is no port"
        if way.username is not None and not _fits(way.username):
            return "its user name cannot be written here"
        return None if way.via is None else self._fault_of_via(way, above)

    def _fault_of_via(self, way: ProxyWay, above: tuple[str, ...]) -> str | None:
        assert way.via is not None
        if way.name in above or len(above) > DEEPEST:
            return "the way to it leads back to itself"
        found = self._follow(way.via, ())
        if found is Fixed.DIRECT:
            return None
        if isinstance(found, InterfaceWay | ProxyWay):
            return self._fault(found, (*above, way.name))
        return f"{quoted(way.via)}, by which it is reached, is no way out here"

    def _proxy(self, name: str, way: ProxyWay) -> str:
        parts = [f"type: socks5, server: {scalar(server_text(way.host, way.port))}"]
        if way.username is not None:
            variable = variable_name(name)
            parts.append(f"username: {scalar(way.username)}, password_env: {variable}")
            self.imported.note_change(
                way.line,
                f"the password of {way.name}",
                f"is not written: set the variable {variable} for the router, or put the password "
                "into a file that only its owner can read and name that with password_file",
            )
        via = self._via(way)
        if via is not None:
            parts.append(f"via: {via}")
        if not way.udp:
            parts.append("udp: reject")
            why = "its program does not offer UDP to it: UDP is refused here, by 'udp: reject'"
            self.imported.note_change(way.line, f"the proxy {way.name}", why)
        return f"{{{', '.join(parts)}}}"

    def _via(self, way: ProxyWay) -> str | None:
        if way.via is not None:
            found = self._follow(way.via, ())
            return self.name_of(found) if isinstance(found, InterfaceWay | ProxyWay) else None
        if way.interface is not None:
            return self.name_of(InterfaceWay(f"via-{way.interface}", way.interface, way.line))
        return None


def _interface(way: InterfaceWay) -> str:
    kind = "vpn" if TUNNEL.match(way.interface) else "direct"
    return f"{{type: {kind}, interface: {scalar(way.interface)}}}"


def _fits(username: str) -> bool:
    return username.isprintable() and 0 < len(username.encode()) <= MOST_CREDENTIAL_BYTES
