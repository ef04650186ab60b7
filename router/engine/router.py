"""One run of the router: put together, running, taken apart.

Always true: what was opened is closed in the reverse order, however the run ends; the routes come
last, when everything that they lead to works.
"""

from __future__ import annotations

import gc
import logging
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final

from router.config.model import Config, PolicyType
from router.engine.forwarder import Forwarder
from router.engine.loop import Loop
from router.engine.policy_log import log_policies
from router.engine.reading import read_all, receive_all
from router.engine.refusals import Refusals
from router.engine.reload.request import Reload
from router.engine.routes.installed import InstalledRoutes
from router.engine.tcp.streams import Streams
from router.engine.tun_writer import TunWriter
from router.engine.watchdog import run_watchdog
from router.flows.drops import Drop, Drops
from router.outbound.all import Outbounds
from router.outbound.descriptors import Descriptors
from router.outbound.icmp import IcmpSocket
from router.outbound.local_replies import LocalReplies
from router.outbound.udp import UdpSockets
from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.platform.base.processes import Supervisor
from router.platform.base.system import System
from router.platform.base.tun import TunDevice
from router.policy.network import Interface
from router.policy.table import RuleSet

log = logging.getLogger(__name__)

BUDGET: Final = 64
"""Packets from one descriptor before the others have their turn."""
EXPIRY_INTERVAL: Final = 1.0
MOST_UDP_SOCKETS: Final = 16_384
"""As many inside endpoints can have UDP flows at a time; see docs/limits.md."""
ANSWERED_HERE: Final = frozenset({PolicyType.REPLY, PolicyType.DROP, PolicyType.REJECT})
SETTLING: Final = 0.05
"""Seconds to wait for more changes of interfaces before they are looked at."""


Attended = Callable[["Router"], AbstractContextManager[object]]


class Router:
    """Runs one configuration on one system.

    supervisor: whoever is told how the run fares.
    attended: given this router when it is ready, something that lasts until it stops: whoever
    asks and tells it.
    """

    def __init__(
        self,
        config: Config,
        system: System,
        supervisor: Supervisor,
        attended: Attended | None = None,
    ) -> None:
        self.supervisor = supervisor
        self._config = config
        self._system = system
        self._attended = attended
        self._settling = False

    def run(self) -> None:
        """Until SIGINT or SIGTERM. Raises PlatformError when it cannot start or go on."""
        self._started = time.monotonic()
        rules = RuleSet.build(self._config)
        with ExitStack() as stack:
            # First, so that no signal interrupts anything of what is taken apart at the end.
            self._loop = stack.enter_context(Loop(self._system.poller()))
            stack.callback(self._system.close)
            self._loop.on_signal(signal.SIGHUP, self._hung_up)
            self._tun = self._open_tun(stack)
            self._descriptors = Descriptors(self._system.processes.raise_descriptor_limit())
            self._outbounds = self._open_outbounds(stack)
            self._local_replies = stack.enter_context(
                closing(LocalReplies(self._system, self._tun.name))
            )
            self._forwarder = Forwarder(
                self._config,
                rules,
                self._outbounds,
                self._tun,
                peers(self._config.tun.addresses),
                secrets.randbits(16),
                self._udp_sockets(),
                self._local_replies,
                partial(self._open_streams, stack),
            )
            stack.callback(self._forwarder.close)
            self._changes = stack.enter_context(closing(self._system.facts.watch()))
            self._outbounds.refresh()
            self._local_replies.refresh()
            log_policies(self._config, self._outbounds, self._config.policies)
            self._installed = InstalledRoutes(
                self._config, rules, self._system, self._tun, self._interfaces_of, self._loop
            )
            self.reload = stack.enter_context(
                closing(
                    Reload(
                        *(
                            self._system.processes,
                            self._loop,
                            self._forwarder,
                            self._outbounds,
                            self._installed,
                        ),
                        began=self.supervisor.reloading,
                        ended=lambda: self.supervisor.ready(self.standing()),
                    )
                )
            )
            del rules  # a reload replaces them, and nobody should hold the former ones
            plan = self._installed.install()
            self._watch_everything()
            if self._attended is not None:
                stack.enter_context(self._attended(self))
            log.info(
                "ready: %d routes by %s, %.2f s",
                len(plan.routes),
                self._tun.name,
                self.uptime,
            )
            self._start_supervision(stack)
            self._descriptors.others = self._system.processes.open_descriptors()
            gc.freeze()  # to look for garbage among a hundred thousand rules would take 0.1 s
            why = self._loop.run()
            log.info("%s: stopping", why)
        log.info("stopped: %s", self.summary())

    @property
    def config(self) -> Config:
        """The one that is in force."""
        return self._forwarder.config

    @property
    def system(self) -> System:
        return self._system

    @property
    def uptime(self) -> float:
        """Seconds since `run` was called."""
        return time.monotonic() - self._started

    @property
    def loop(self) -> Loop:
        return self._loop

    @property
    def tun(self) -> TunDevice:
        return self._tun

    @property
    def outbounds(self) -> Outbounds:
        return self._outbounds

    @property
    def forwarder(self) -> Forwarder:
        return self._forwarder

    def summary(self) -> str:
        """What was forwarded and what was not, as `name=number` pairs."""
        carried = [tally for tally in self._forwarder.tallies if tally.policy not in ANSWERED_HERE]
        counts = {
            "packets-out": sum(tally.packets_out for tally in carried),
            "packets-in": sum(tally.packets_in for tally in carried),
            "replies": self._forwarder.refusals.replies,
            Drop.LOOP.value: 0,
            **self._forwarder.drops.nonzero(),
        }
        return " ".join(f"{name}={number}" for name, number in counts.items())

    def standing(self) -> str:
        """How things stand, in one line for people."""
        parts = [f"{self._installed.route_count} routes by {self._tun.name}"]
        outbounds = self._outbounds.by_policy.items()
        for word, names in (
            ("up", [name for name, outbound in outbounds if outbound.up]),
            ("down", [name for name, outbound in outbounds if not outbound.up]),
        ):
            if names:
                parts.append(f"{word}: {', '.join(names)}")
        return "; ".join(parts)

    # SocketWatcher

    def opened(self, sock: IcmpSocket) -> None:
        self._descriptors.others += 1
        self._loop.watch(sock, lambda: receive_all(self._forwarder, sock, BUDGET, self._loop.now))

    def closing(self, sock: IcmpSocket) -> None:
        self._descriptors.others -= 1
        self._loop.forget(sock)

    # Putting together

    def _open_tun(self, stack: ExitStack) -> TunDevice:
        tun = self._config.tun
        device = self._system.tuns.open_tun(tun.name, tun.mtu, tun.addresses)
        stack.callback(device.close)
        return device

    def _open_outbounds(self, stack: ExitStack) -> Outbounds:
        outbounds = Outbounds(self._system, self._config.policies.values(), self._tun, self)
        stack.callback(outbounds.close)
        return outbounds

    def _open_streams(
        self, stack: ExitStack, writer: TunWriter, refusals: Refusals, drops: Drops
    ) -> Streams:
        streams = Streams(
            self._system.tcp,
            self._tun,
            self._loop,
            {address.version: address.ip.packed for address in self._config.tun.addresses},
            self._local_replies.owns,
            self._descriptors,
            writer,
            refusals,
            drops,
        )
        stack.callback(streams.close)
        return streams

    def _udp_sockets(self) -> UdpSockets:
        """A quarter of the descriptors at most: others need some too."""
        limit = min(MOST_UDP_SOCKETS, self._descriptors.limit // 4)
        return UdpSockets(
            self._system.sockets, self._watch_at, self._loop.forget, limit, self._descriptors
        )

    def _watch_at(self, source: HasFileno, readable: Callable[[float], None]) -> None:
        """Wait for a source whose reader wants to know the time."""
        self._loop.watch(source, lambda: readable(self._loop.now))

    def _interfaces_of(self, policy: str) -> Mapping[int, Interface]:
        outbound = self._outbounds.by_policy.get(policy)
        return outbound.interfaces if outbound else {}

    def _watch_everything(self) -> None:
        self._loop.watch(self._tun, self._read_tun)
        self._loop.watch(self._changes, self._interfaces_changed)
        guard = self._system.processes.guard()
        self._loop.watch(guard, guard.dispatch)
        self._loop.call_later(EXPIRY_INTERVAL, self._expire)

    def _start_supervision(self, stack: ExitStack) -> None:
        self.supervisor.ready(self.standing())
        stack.callback(self.supervisor.stopping)
        run_watchdog(self.supervisor, self._loop)

    # Running

    def _read_tun(self) -> None:
        try:
            read_all(self._forwarder, self._tun, BUDGET, self._loop.now)
        except OSError as error:
            raise PlatformError(
                f"{self._tun.name} is gone ({error.strerror}): another program has deleted it or "
                "taken it down; start the router again"
            ) from error

    def _hung_up(self) -> None:
        self.reload.ask()

    def _expire(self) -> None:
        self._forwarder.expire(self._loop.now)
        self._loop.call_later(EXPIRY_INTERVAL, self._expire)

    def _interfaces_changed(self) -> None:
        """Look once things have settled, not at each of the many messages of one change."""
        self._changes.drain()
        if not self._settling:
            self._settling = True
            self._loop.call_later(SETTLING, self._refresh_outbounds)

    def _refresh_outbounds(self) -> None:
        self._settling = False
        changes = self._outbounds.refresh()
        self._local_replies.refresh()
        for change in changes:
            self._forwarder.forget(change)
        changed = [change.outbound for change in changes]
        names = [
            name for name, outbound in self._outbounds.by_policy.items() if outbound in changed
        ]
        log_policies(self._forwarder.config, self._outbounds, names)
        try:
            self._installed.keep()
        except PlatformError as error:
            log.warning("%s", error)  # if the guard has ended, its dispatch raises too
        if changes:
            self.supervisor.now(self.standing())


def peers(addresses: tuple[IPv4Interface | IPv6Interface, ...]) -> Mapping[int, bytes]:
    """By IP version, the other host address of the TUN's subnet: the router, as others see it."""
    found: dict[int, bytes] = {}
    for address in addresses:
        hosts = (host for host in address.network.hosts() if host != address.ip)
        found[address.version] = next(hosts).packed
    return found
