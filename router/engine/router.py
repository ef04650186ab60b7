"""One run of the router: start, wait, stop.

Always true: what was opened is closed in the reverse order, however the run ends; the routes come
last, when everything that they lead to works.
"""

from __future__ import annotations

import gc
import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from typing import Final, NoReturn

from router.config.model import Config
from router.engine.assembly import BUDGET, assemble
from router.engine.direct.answers import Answers
from router.engine.direct.obstacles import Obstacles
from router.engine.events import Events
from router.engine.forwarder import Forwarder
from router.engine.interface_events import InterfaceEvents
from router.engine.loop import Loop
from router.engine.memory import SpareMemory
from router.engine.observer.observer import Observer
from router.engine.policy_log import log_policies
from router.engine.reading import TunReader
from router.engine.reload.request import Reload
from router.engine.reload.watcher import Watcher
from router.engine.routes.installed import InstalledRoutes
from router.engine.summary import state, summary
from router.engine.tcp.dial import DESCRIPTORS_EACH
from router.engine.watchdog import run_watchdog
from router.outbound.all import Outbounds
from router.platform.base.errors import PlatformError
from router.platform.base.processes import Pipe, Supervisor
from router.platform.base.system import System
from router.platform.base.tun import TunDevice
from router.platform.log import report_repeated
from router.policy.match.table import RuleSet
from router.policy.routes.answered import answered_prefixes

log = logging.getLogger(__name__)

EXPIRY_INTERVAL: Final = 1.0
"""Seconds."""
WAITING_BUDGET: Final = 4
"""Of the packets that had to wait, those that go on in a turn."""
EXPIRED_A_TURN: Final = 64
"""Flows of a protocol that end in one round of the loop at most, 2 ms or so."""

ServesControl = Callable[["Router"], AbstractContextManager[object]]
"""Serves the control socket of a router as long as the context lasts."""


class Router:
    """Runs one configuration on one system.

    supervisor: gets the state of the run. serve_control: entered when the router is ready. watch:
    see Processes.start_watch; None: rules are read again only when that is requested.
    """

    reload: Reload

    def __init__(
        self,
        config: Config,
        system: System,
        supervisor: Supervisor,
        serve_control: ServesControl | None = None,
        watch: Pipe | None = None,
    ) -> None:
        self.supervisor = supervisor
        self.system = system
        self.events = Events()
        self._config = config
        self._serve_control = serve_control
        self._watch_of_rules = watch
        self._is_expiring = self._is_beginning = False
        self._interface_events: InterfaceEvents | None = None

    def run(self) -> None:
        """Until SIGINT or SIGTERM. Raises PlatformError when it cannot start or go on."""
        self._started = time.monotonic()
        rules = RuleSet.build(self._config)
        with ExitStack() as stack:
            # First, so that no signal interrupts what is closed at the end.
            self.loop = stack.enter_context(Loop(self.system.poller()))
            stack.callback(self.system.close)
            self.loop.on_signal(signal.SIGHUP, self._reload_requested)
            self._parts = assemble(
                *(self._config, rules, self.system, self.loop, stack, self._paths_changed),
                self._outbound_changed,
            )
            changes = stack.enter_context(closing(self.system.facts.watch()))
            neighbours = stack.enter_context(closing(self.system.facts.watch_neighbours()))
            self.outbounds.refresh()
            self._follow_host_rules(stack)
            self._parts.senders.prepare(self.outbounds.interface_names())
            log_policies(self._config, self.outbounds, self._config.policies)
            self._installed = InstalledRoutes(
                *(self._config, rules, self.system, self.tun, self.obstacles.facts),
                *(self.outbounds.proxy_servers, self.loop, self.events.conflict),
            )
            # The guard installs them while the rest is made here.
            finish_installing = self._installed.begin_installing()
            self.reload = stack.enter_context(closing(self._open_reload()))
            answered = answered_prefixes(self._config, rules)
            del rules  # a reload replaces them, and the former ones are to be freed then
            self._parts.answers.follow(self._config, answered)
            finish_installing()
            self._memory = SpareMemory(
                lambda: self.forwarder.held,
                self.forwarder.shrink,
                self.system.processes.give_back_memory,
            )
            self._watch()
            self._interface_events = InterfaceEvents(
                *(changes, neighbours, self.system.facts, self.system.processes.guard()),
                *(self._parts, self._installed, self.loop, self._outbounds_changed),
            )
            if self._serve_control is not None:
                stack.enter_context(self._serve_control(self))
            self._count_descriptors()
            count = self._installed.route_count
            log.info("ready: %d routes by %s, %.2f s", count, self.tun.name, self.uptime)
            self._start_supervision(stack)
            if self._watch_of_rules is not None:
                watcher = Watcher(
                    *(self._watch_of_rules, self.system.processes, self.loop, self.reload.request)
                )
                stack.callback(watcher.close)
            self.system.sockets.keep_ready()
            gc.freeze()  # a collection among a hundred thousand rules would take 0.1 s
            why = self.loop.run()
            log.info("%s: stopping", why)
            answers = self.answers.packets()
        report_repeated(at_the_end=True)
        log.info("stopped: %s", summary(self.forwarder, answers))

    @property
    def config(self) -> Config:
        """The one that is in force."""
        return self.forwarder.config

    @property
    def uptime(self) -> float:
        """Seconds since `run` was called."""
        return time.monotonic() - self._started

    @property
    def tun(self) -> TunDevice:
        return self._parts.tun

    @property
    def outbounds(self) -> Outbounds:
        return self._parts.outbounds

    @property
    def obstacles(self) -> Obstacles:
        return self._parts.obstacles

    @property
    def answers(self) -> Answers:
        return self._parts.answers

    @property
    def forwarder(self) -> Forwarder:
        return self._parts.forwarder

    @property
    def observer(self) -> Observer:
        return self._parts.observer

    # Starting

    def _open_reload(self) -> Reload:
        return Reload(
            *(self.system.processes, self.loop, self.forwarder, self.outbounds, self._installed),
            self._parts.answers,
            began=self.supervisor.reloading,
            ended=lambda: self.supervisor.ready(self._state),
            decided=self.events.reloaded,
        )

    def _follow_host_rules(self, stack: ExitStack) -> None:
        """Watched first, so that no change is missed."""
        try:
            changes = self.system.packet_filter.watch_host_rules()
        except PlatformError as error:
            self.obstacles.cannot_follow(error)
        else:
            stack.callback(changes.close)
            self.loop.watch(changes, partial(self.obstacles.rules_changed, changes))
        self.obstacles.start()
        self.forwarder.direct.forget()

    def _watch(self) -> None:
        self._reader = TunReader(self.forwarder, self.tun)
        self._own_descriptor = self.tun.fileno()
        self._waiting = self.forwarder.admissions.waiting
        self.loop.watch(self.tun, self._read_tun)
        if self.tun.forwarded is not None:
            self.loop.watch(self.tun.forwarded, self._read_forwarded)
        guard = self.system.processes.guard()
        self.loop.watch(guard, guard.dispatch)
        self.loop.call_later(EXPIRY_INTERVAL, self._expire)

    def _count_descriptors(self) -> None:
        """Raises PlatformError when none are left for connections."""
        descriptors = self._parts.descriptors
        descriptors.others = self.system.processes.open_descriptors()
        if descriptors.free < DESCRIPTORS_EACH:
            raise PlatformError(
                f"the limit of {descriptors.limit} open files leaves none for a TCP connection: "
                f"{descriptors.others} are open, {descriptors.reserved} are reserved; raise it "
                "(`ulimit -Hn`, or LimitNOFILE= in the service)"
            )

    def _start_supervision(self, stack: ExitStack) -> None:
        self.supervisor.ready(self._state)
        stack.callback(self.supervisor.stopping)
        run_watchdog(self.supervisor, self.loop)

    # Running

    @property
    def _state(self) -> str:
        return state(self._installed.route_count, self.tun.name, self.outbounds)

    def _read_tun(self) -> None:
        try:
            self._reader.turn(BUDGET, self.loop.now)
        except OSError as error:
            self._fail_without_tun(error)
        if self._waiting and not self._is_beginning:
            self._begin_soon()

    def _read_forwarded(self) -> None:
        """Whether the TUN is empty is a matter of both queues."""
        loop = self.loop
        try:
            self._reader.turn_forwarded(
                BUDGET, loop.now, own_is_readable=loop.has_reported(self._own_descriptor)
            )
        except OSError as error:
            self._fail_without_tun(error)
        if self._waiting and not self._is_beginning:
            self._begin_soon()

    def _fail_without_tun(self, error: OSError) -> NoReturn:
        self.system.processes.guard().dispatch()  # which says so if the guard has ended, too
        raise PlatformError(
            f"{self.tun.name} is gone ({error.strerror}): another program has deleted it or "
            "taken it down; start the router again"
        ) from error

    def _begin_soon(self) -> None:
        self._is_beginning = True
        self.loop.call_soon(self._begin_waiting)

    def _begin_waiting(self) -> None:
        self._is_beginning = self.forwarder.begin_waiting(self.loop.now, WAITING_BUDGET)
        if self._is_beginning:
            self.loop.call_soon(self._begin_waiting)

    def _reload_requested(self) -> None:
        self.reload.request()

    def _expire(self) -> None:
        self.forwarder.carriers.look_after_peers(self.loop.now)
        self.forwarder.direct.path.forwarded.expire(self.loop.now)
        report_repeated()
        self._memory.look(self.loop.now)
        if not self._is_expiring:
            self._expire_some()
        self.system.processes.guard().check()
        self.loop.call_later(EXPIRY_INTERVAL, self._expire)

    def _expire_some(self) -> None:
        """A bounded number in each round of the loop, so that packets do not wait for the rest."""
        self._is_expiring = self.forwarder.expire(self.loop.now, EXPIRED_A_TURN)
        if self._is_expiring:
            self.loop.call_soon(self._expire_some)

    def _paths_changed(self) -> None:
        """Other packets than before may leave directly."""
        self.forwarder.direct.forget()
        try:
            self._installed.reconcile()
        except PlatformError as error:
            log.warning("the routes are not renewed: %s", error)

    def _outbound_changed(self) -> None:
        """An outbound has gone up or down by itself."""
        if self._interface_events is not None:
            self._interface_events.settle()

    def _outbounds_changed(self, policies: Sequence[str]) -> None:
        self.supervisor.now(self._state)
        self.events.policies(self.config, self.outbounds, policies)
