"""Other rules for a router that runs.

Theory of operation. A request starts a process that reads the file (`reread`); its result is
received piece by piece between packets. Then, between two packets, the difference is applied:
outbounds of new policies are opened, routes are added before others are removed, each flow is
re-evaluated by the new rules, and outbounds that are no longer used are closed.

Always true: a file with an error changes nothing, and neither does a change that the system
refuses or that needs a restart; a request that arrives while the file is being read is answered
with the outcome of a reading that began after it.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from router.config.model import Config, Place
from router.config.problems import Problem, Severity
from router.config.sources import Sources
from router.engine.direct.answers import Answers
from router.engine.forwarder import Forwarder
from router.engine.loop import Loop
from router.engine.policy_log import log_policies
from router.engine.reload.chunked_pickle import ChunkedUnpickler
from router.engine.reload.compiled import PATIENCE, Compiled, Report, Reread
from router.engine.reload.outcome import Outcome, policy_changes
from router.engine.routes.installed import InstalledRoutes, RollbackFailedError
from router.outbound.all import Outbounds
from router.platform.base.errors import PlatformError
from router.platform.base.processes import Pipe, Processes
from router.platform.base.starts import PacedStarts
from router.platform.log import LOG_LEVELS, log_at_once
from router.platform.reason import reason

log = logging.getLogger(__name__)

CUT_OFF: Final = (
    "the process that reads the rules has ended before it was done (out of memory?): "
    "nothing has changed; try again, or look at the system's log"
)
TOO_LONG: Final = (
    f"the rules could not be read within {PATIENCE:.0f} s: nothing has changed; "
    "are the file and its lists on a disk that answers?"
)

REFUSALS: Final = (PlatformError, OSError, MemoryError)
"""What a system raises when it refuses."""

Done = Callable[[Outcome], None]


class Reload:
    """The reloads of one router.

    began, ended: called when the file is about to be read, and when the router is at rest again.
    decided: called with each outcome, before those who have requested it.
    """

    def __init__(
        self,
        processes: Processes,
        loop: Loop,
        forwarder: Forwarder,
        outbounds: Outbounds,
        installed: InstalledRoutes,
        answers: Answers,
        began: Callable[[], None],
        ended: Callable[[], None],
        decided: Done,
    ) -> None:
        self._decided = decided
        self._began = began
        self._ended = ended
        self._processes = processes
        self._loop = loop
        self._starts = PacedStarts(loop)
        self._forwarder = forwarder
        self._outbounds = outbounds
        self._installed = installed
        self._answers = answers
        self._requested: list[Done] = []
        self._waiting: list[Done] = []
        self._pipe: Pipe | None = None
        self._is_under_way = False
        self._unpickler = ChunkedUnpickler()
        self._broken = False

    def request(self, done: Done | None = None) -> None:
        """Read the file again. `done` is called once with the outcome, which is logged as well."""
        self._requested.append(done or (lambda _: None))
        if not self._is_under_way:
            self._is_under_way = True
            self._starts.when_allowed(self._begin)

    def close(self) -> None:
        """Abandon a reading that is under way; its requests are not answered."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
            _resume_collecting()

    def _begin(self) -> None:
        self._waiting, self._requested = self._requested, []
        self._unpickler = ChunkedUnpickler()
        self._broken = False
        self._began()
        log.info("reading %s again", self._forwarder.config.file)
        self._processes.guard().when_free(self._start)

    def _start(self, refusal: PlatformError | None) -> None:
        try:
            if refusal is not None:
                raise refusal
            pipe = self._pipe = self._processes.start_reread()
        except REFUSALS as error:
            self._answer(Outcome.refused(Report.saying(reason(error))))
            return
        # Nothing of what comes is garbage, and looking for it would take longer than any piece.
        gc.disable()
        self._loop.watch(pipe, self._read)
        self._loop.call_later(PATIENCE, partial(self._give_up, pipe))

    def _read(self) -> None:
        assert self._pipe is not None, "only a pipe that is open is waited for"
        try:
            data = self._pipe.read()
        except BlockingIOError:
            return
        if data and not self._broken:
            try:
                self._unpickler.take(data)
            except Exception:
                self._broken = True
        if not data or self._broken:
            self._loop.call_later(0.0, self._finish)

    def _give_up(self, pipe: Pipe) -> None:
        if self._pipe is pipe:
            self._end_reading()
            self._answer(Outcome.refused(Report.saying(TOO_LONG)))

    def _finish(self) -> None:
        """From a timer, so that sockets may be closed."""
        if self._pipe is None:
            return
        self._end_reading()
        found: Reread | None = self._unpickler.value if self._unpickler.complete else None
        self._unpickler = ChunkedUnpickler()
        if found is None:
            self._answer(Outcome.refused(Report.saying(CUT_OFF)))
            return

        def guard_is_free(error: PlatformError | None) -> None:
            if error is None:
                self._loop.call_later(0.0, lambda: self._answer(self._outcome(found)))
            else:
                self._answer(Outcome.refused(Report.saying(str(error))))

        self._processes.guard().when_free(guard_is_free)

    def _end_reading(self) -> None:
        assert self._pipe is not None
        self._loop.forget(self._pipe)
        self._pipe.close()
        self._pipe = None
        _resume_collecting()

    def _answer(self, outcome: Outcome) -> None:
        for text, severity, excerpt in outcome.problems.lines:
            log_at_once(log, LOG_LEVELS[severity], text, excerpt)
        log.log(logging.INFO if outcome.done else logging.ERROR, "%s", outcome.as_text())
        self._decided(outcome)
        for done in self._waiting:
            done(outcome)
        if self._requested:
            self._starts.when_allowed(self._begin)
        else:
            self._is_under_way = False
            self._ended()

    # Applying

    def _outcome(self, found: Reread) -> Outcome:
        compiled = found.compiled
        if compiled is None:
            return Outcome.refused(found.problems)
        fixed = needing_a_restart(self._forwarder.config, compiled.config)
        if fixed:
            return Outcome.refused(fixed)
        try:
            outcome = self._apply(compiled)
        except RollbackFailedError:
            raise
        except REFUSALS as error:
            return Outcome.refused(Report.saying(reason(error)))
        return outcome._replace(problems=found.problems)

    def _apply(self, compiled: Compiled) -> Outcome:
        """All of it or nothing, then with PlatformError. RollbackFailedError is for neither."""
        before, config = self._forwarder.config, compiled.config
        changes = policy_changes(before, config)
        self._outbounds.take_over(config.policies.values())
        try:
            routes = self._installed.change(compiled)
        except REFUSALS:
            self._outbounds.take_over(before.policies.values())
            self._outbounds.close_unused(self._forwarder.carriers.outbounds())
            raise
        self._answers.follow(config, compiled.answered)
        flows = self._forwarder.change(config, compiled.rules)
        self._outbounds.close_unused(self._forwarder.carriers.outbounds())
        log_policies(config, self._outbounds, {*changes.added, *changes.changed})
        return Outcome.applied(config, flows, routes, changes)


def _resume_collecting() -> None:
    """What there is now need never be looked at: the rules of a large file take 0.1 s."""
    gc.freeze()
    gc.enable()


def needing_a_restart(before: Config, after: Config) -> Report:
    """A problem for each part that is different and that a running router can't change."""
    top = Place(after.file, 1, 1)
    compared = (
        ("the name of the TUN", before.tun.name, after.tun.name, after.tun.place),
        ("the address of the TUN", before.tun.addresses, after.tun.addresses, after.tun.place),
        ("the mtu of the TUN", before.tun.mtu, after.tun.mtu, after.tun.place),
        ("the user", before.user, after.user, after.user_place),
    )
    problems = [
        Problem(
            "needs-restart",
            Severity.ERROR,
            place or top,
            f"{what} is now {_shown(new)} and was {_shown(old)}: a running router can't change it",
            "restart the router, or leave it as it was",
        )
        for what, old, new, place in compared
        if old != new
    ]
    return Report.of(problems, Sources())


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return "left to the system" if value is None else str(value)
