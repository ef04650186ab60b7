"""Where the direct path may be used: by which interfaces nothing of the host sees a difference, and
by which packets may be forwarded in the kernel, where they are not shown to the host's rules.

Always true: an interface whose rules are not read yet, or cannot be read, is one where neither may
be; what is read is read again whenever the system reports a change of rules or of interfaces. From
that report on, until what was read afterwards has been judged, nothing may be forwarded.

Must not know: how rules are read, what follows from an obstacle.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from router.config.model import Path, Policy
from router.outbound.all import Outbounds
from router.outbound.local_addresses import LocalAddresses
from router.platform.base.errors import PlatformError
from router.platform.base.facts import Changes
from router.platform.base.packet_filter import PacketFilter
from router.policy.host_rules.model import (
    MARK_REMEDY,
    OWNER_REMEDY,
    DirectOutput,
    HostRules,
    mark_words,
    owner_words,
    reverse_path_remedy,
)
from router.policy.interfaces import NO_RANGES, OutboundFacts

log = logging.getLogger(__name__)

SETTLING: Final = 0.02
"""Seconds to wait for further changes of rules: a firewall that starts makes thousands."""
UNREPORTED: Final = 10.0
"""Seconds after which rules are read again that no system reports: those of iptables-legacy."""
LOOKING: Final = 0.1
"""Seconds after which, while packets are forwarded, is asked again whether there are such rules."""
NOT_READ: Final = "the host's own rules are not read yet"
CHANGED: Final = "the host's own rules may have changed and are being read again"


class Loop(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class Obstacles:
    """outbounds, addresses: their owner keeps them up to date. changed: called when the answers of
    `of` may be others, after `start`."""

    def __init__(
        self,
        packet_filter: PacketFilter,
        outbounds: Outbounds,
        addresses: LocalAddresses,
        loop: Loop,
        changed: Callable[[], None],
    ) -> None:
        self._filter = packet_filter
        self._outbounds = outbounds
        self._addresses = addresses
        self._loop = loop
        self._changed = changed
        self.revoked: Callable[[], None] = _nothing
        """Called when what is forwarded may no longer be: at once when a change is reported, and
        when rules are read in which that is found. Nothing is called when it may be again."""
        self._read: Mapping[str, str | None] = {}
        self._refusals: Mapping[str, str] = {}
        self._is_due = False
        self._is_forwarding = self._is_looking = False
        self._changes = 0
        self._judged_changes = 0
        self._unfollowed: str | None = None
        self._translates = False
        self._path_checks: Mapping[int, str] = {}
        self._owner_checks: Mapping[str, str] = {}
        self._mark_checks: Mapping[str, str] = {}

    def cannot_follow(self, error: PlatformError) -> None:
        """Changes of rules are not reported: what has been read may be wrong at any time."""
        self._unfollowed = str(error)

    def start(self) -> None:
        """Read the rules for the first time."""
        outputs = self._outputs()
        try:
            self._take(outputs, self._filter.host_rules(outputs))
        except PlatformError as error:
            self._take(outputs, error)
        self._loop.call_later(UNREPORTED, self._again)

    def of(self, interface: str) -> str | None:
        """Why packets may not begin to leave directly by an interface, in one clause; None if they
        may."""
        return self._unfollowed or self._read.get(interface, NOT_READ)

    def may_forward(self, interface: str) -> bool:
        """Whether packets by an interface may be forwarded without passing the host's rules."""
        return self.why_not_forwarded(interface) is None

    def why_not_forwarded(self, interface: str) -> str | None:
        """Why not, in one clause; None if they may."""
        if self._judged_changes != self._changes:
            return CHANGED
        return self.of(interface) or self._refusals.get(interface)

    def forwarding(self, is_forwarding: bool) -> None:
        """Whether anything is forwarded from now on. As long as it is, the system is asked whether
        it has rules whose changes it does not report. `revoked` may be called before this returns.
        """
        self._is_forwarding = is_forwarding
        if is_forwarding and not self._is_looking:
            self._is_looking = True
            self._look()

    def why_relayed(self, policy: Policy) -> str | None:
        """Why packets of this machine by a policy do not leave directly, in one clause; None if
        they do."""
        outbound = self._outbounds.by_policy.get(policy.name)
        if outbound is None or not outbound.up:
            return "it is down"
        if policy.path is Path.RELAY:
            return "path: relay"
        return outbound.obstacle(self.of)

    def translates_requests(self) -> bool:
        """See HostRules; what cannot be read may do so."""
        return self._translates

    def facts(self, policy: str) -> OutboundFacts | None:
        """What the routes of a policy depend on: as long as packets may not leave directly, no
        program is told their source."""
        outbound = self._outbounds.by_policy.get(policy)
        facts = None if outbound is None else outbound.facts
        if outbound is None or facts is None or outbound.obstacle(self.of) is None:
            return facts
        return facts._replace(sources=NO_RANGES)

    def rules_changed(self, changes: Changes) -> None:
        """The system reports a change of rules."""
        changes.drain()
        self._revoke()
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(SETTLING, self._reread)

    def request(self) -> None:
        """Read the rules again, without waiting: what they are judged for may have changed."""
        self._revoke()
        self._reread()

    def _revoke(self) -> None:
        was_current = self._judged_changes == self._changes
        self._changes += 1
        if was_current:
            self.revoked()

    def _reread(self) -> None:
        """Rules that are read from now on have all the changes reported so far."""
        self._is_due = False
        outputs, changes = self._outputs(), self._changes

        def done(rules: HostRules | PlatformError) -> None:
            read, refusals, translates = self._read, self._refusals, self._translates
            self._take(outputs, rules)
            self._judged_changes = changes
            if (self._read, self._refusals) != (read, refusals):
                self.revoked()
            if (self._read, self._translates) != (read, translates):
                self._changed()

        try:
            self._filter.request_host_rules(outputs, done)
        except PlatformError as error:
            done(error)

    def _look(self) -> None:
        if not self._is_forwarding:
            self._is_looking = False
            return
        try:
            self._filter.request_has_unreported(self._looked)
        except PlatformError as error:
            self._looked(error)

    def _looked(self, has_unreported: bool | PlatformError) -> None:
        """What is not known may be so."""
        if self._is_forwarding and has_unreported is not False:
            self.request()
        self._loop.call_later(LOOKING, self._look)

    def _again(self) -> None:
        self._reread()
        self._loop.call_later(UNREPORTED, self._again)

    def _take(self, outputs: list[DirectOutput], rules: HostRules | PlatformError) -> None:
        before, refusals = self._read, self._refusals
        if isinstance(rules, PlatformError):
            self._read = {output.interface: str(rules) for output in outputs}
            self._refusals = {}
            self._translates = True
        else:
            self._translates = rules.translates_requests
            _report_path_checks(self._path_checks, rules.path_checks)
            self._path_checks = rules.path_checks
            for interface, clause in _new(self._owner_checks, rules.owner_checks):
                log.warning("%s; %s", owner_words(interface, clause), OWNER_REMEDY)
            self._owner_checks = rules.owner_checks
            for interface, clause in _new(self._mark_checks, rules.mark_checks):
                log.warning("%s; %s", mark_words(interface, clause), MARK_REMEDY)
            self._mark_checks = rules.mark_checks
            self._read = {
                output.interface: rules.obstacles.get(output.interface) for output in outputs
            }
            self._refusals = rules.refusals
        for interface, obstacle in self._read.items():
            refusal = self._refusals.get(interface)
            known = before.get(interface), refusals.get(interface)
            if (obstacle, refusal) != known:
                _report(interface, obstacle, refusal)

    def _outputs(self) -> list[DirectOutput]:
        """The interfaces of all policies, with their addresses."""
        wanted = self._outbounds.interface_names()
        found = {each.name: each for each in self._addresses.owners.values() if each.name in wanted}
        return [
            DirectOutput(
                *(name, each.index, [address.ip for address in each.addresses]),
                self._addresses.tun,
            )
            for name, each in sorted(found.items())
        ]


def _nothing() -> None: ...


def _report_path_checks(before: Mapping[int, str], now: Mapping[int, str]) -> None:
    for version, clause in now.items():
        if before.get(version) != clause:
            log.warning(
                "%s: so it drops the IPv%d answers from networks of the rules; %s",
                *(clause, version, reverse_path_remedy(version)),
            )


def _new(before: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str]]:
    return [each for each in now.items() if each not in before.items()]


def _report(interface: str, obstacle: str | None, refusal: str | None) -> None:
    if obstacle is not None:
        log.info("interface %s: packets of this machine are relayed: %s", interface, obstacle)
    elif refusal is not None:
        log.info(
            "interface %s: packets of this machine leave directly, all by the router: %s",
            *(interface, refusal),
        )
    else:
        log.info("interface %s: packets of this machine leave directly", interface)
