"""`tunrouter trace`: each packet that the running router decides on, with the decision.

Theory of operation. The router sends the packets that its filter admits by the control socket. The
answers of the direct path never reach it; this process captures them on their way in, by the
interfaces that the router names, and reads them only while the router has reported a flow that they
can answer. When all that needs rights is open, it gives up those of root, and only then decodes.

Always true: a trace ends by itself after --count packets or --seconds, and what was left out is
said. Ctrl-C ends it between two turns: no line is cut, and what had come until then is shown.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO, Final

from router.cli import exits
from router.cli.trace_lines import NEEDS_SCAPY, Summary, as_json, as_text, in_words, scapy_summary
from router.cli.trace_order import HOLD, InOrder
from router.control.client import Follower, NoAnswerError, find_router, following
from router.flows.trace.decision import IN, Decision, Record
from router.flows.trace.matching import Filter
from router.flows.trace.simplified import NOTHING, of_forwarded
from router.flows.trace.words import BadFilterError, Tree, parse
from router.platform import open_capture
from router.platform.account import become, usual_account
from router.platform.base.capture import Capture
from router.platform.base.errors import PlatformError
from router.wire import pcapng

TURN: Final = 0.05
"""Seconds to wait at most while packets are held, or may have been captured."""


def trace(
    tun: str | None,
    words: list[str],
    count: int | None,
    seconds: float | None,
    pcap: Path | None,
    *,
    as_json_lines: bool,
) -> int:
    """Trace the router with a TUN, or the only one; the exit status. words: of the filter."""
    text = " ".join(words)
    try:
        tree = parse(text)
        summary = scapy_summary()
    except BadFilterError as error:
        _say(str(error))
        return exits.BAD_RULES
    except ImportError:
        return _failed(NEEDS_SCAPY)
    request = {"command": "trace", "version": 2, "filter": text}
    try:
        with ExitStack() as stack:
            file = None if pcap is None else stack.enter_context(pcap.open("wb"))
            follower = stack.enter_context(following(find_router(tun), request))
            show = as_json if as_json_lines else _as_text
            output = _Output(lambda record: show(record, summary), file, count)
            return _Run(tree, follower, stack, seconds, output).until_the_end()
    except (NoAnswerError, PlatformError) as error:
        return _failed(str(error))
    except OSError as error:
        if pcap is None or isinstance(error, BrokenPipeError):
            raise
        return _failed(f"{pcap} cannot be written: {error.strerror}")


def _as_text(record: Record, summary: Summary) -> str:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return as_text(record, summary, columns)


def _failed(why: str) -> int:
    _say(why)
    return exits.FAILED


def _say(what: str) -> None:
    print(f"tunrouter trace: {what}", file=sys.stderr, flush=True)


class _Output:
    """Where the packets go, `count` at most."""

    def __init__(
        self, show: Callable[[Record], str], file: BinaryIO | None, count: int | None
    ) -> None:
        self.shown = self.left_out = 0
        self._show = show
        self._file = file
        self._count = count

    @property
    def is_complete(self) -> bool:
        return self._count is not None and self.shown >= self._count

    def begin(self, tun: str) -> None:
        if self._file is not None:
            self._file.write(pcapng.header(tun))
            self._file.flush()

    def write(self, record: Record) -> None:
        if self.is_complete:
            return
        self.shown += 1
        print(self._show(record))
        if self._file is not None:
            decision, is_inbound = record.decision, record.direction == IN
            comment = in_words(decision, record.direction)
            head = record.time, record.data, record.length, comment
            self._file.write(pcapng.packet(*head, is_inbound=is_inbound))

    def flush(self) -> None:
        sys.stdout.flush()
        if self._file is not None:
            self._file.flush()

    def summary(self) -> str:
        packets = f"{self.shown} packet{'' if self.shown == 1 else 's'}"
        return f"{packets}, {self.left_out} left out" if self.left_out else packets


class _Run:
    """One trace, from the router's first line on."""

    def __init__(
        self,
        tree: Tree,
        follower: Follower,
        stack: ExitStack,
        seconds: float | None,
        output: _Output,
    ) -> None:
        self._tree = tree
        self._follower = follower
        self._stack = stack
        self._end = None if seconds is None else time.monotonic() + seconds
        self._output = output
        self._capture: Capture | None = None
        self._in_order = InOrder(Filter(tree), captures=False)
        self._has_ended = False

    def until_the_end(self) -> int:
        """Raises NoAnswerError, OSError."""
        with _blocked(signal.SIG_BLOCK):
            try:
                while not (self._has_ended or self._output.is_complete or self._is_over()):
                    self._turn()
            except KeyboardInterrupt:
                self._take_what_has_come()
            self._show(time.time() + 2)
        _say(self._output.summary())
        return _failed("the router has ended") if self._has_ended else exits.OK

    def _is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end

    def _turn(self) -> None:
        is_waiting = self._in_order.is_waiting or self._capture is not None
        timeout = TURN if is_waiting else None
        if self._end is not None:
            left = max(0.0, self._end - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        if self._is_readable(timeout):
            self._take_lines()
        if self._capture is not None:
            self._take_captured(self._capture)
        self._show(time.time())

    def _take_what_has_come(self) -> None:
        """For no longer than HOLD, as a router may go on."""
        end = time.monotonic() + HOLD
        while not self._has_ended and time.monotonic() < end:
            if not select.select([self._follower], [], [], 0)[0]:
                break
            self._take_lines()
        if self._capture is not None:
            self._take_captured(self._capture)

    def _is_readable(self, timeout: float | None) -> bool:
        """Whether there are lines. Raises KeyboardInterrupt, as nothing else does."""
        with _blocked(signal.SIG_UNBLOCK):
            return bool(select.select([self._follower], [], [], timeout)[0])

    def _take_lines(self) -> None:
        lines = self._follower.read()
        self._has_ended = lines is None
        for line in lines or ():
            self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        if "tracing" in line:
            self._begin(line["tracing"], line["answered_by"])
        elif "answered_by" in line:
            self._capture_by(line["answered_by"])
        elif "lost" in line:
            self._output.left_out += line["lost"]
        else:
            self._in_order.add(_record(line))

    def _take_captured(self, capture: Capture) -> None:
        if not self._in_order.expects_answers:
            capture.discard(time.time() - HOLD)
            return
        for captured in capture.read():
            self._in_order.capture(captured)

    def _begin(self, tun: str, answered_by: Collection[int] | None) -> None:
        """Open what needs rights, then give them up."""
        answers = of_forwarded(self._tree)
        if answers != NOTHING:
            try:
                self._capture = self._stack.enter_context(closing(open_capture(tun, answers)))
            except PlatformError as error:
                _say(f"answers of the direct path are not shown: {error}")
            else:
                self._in_order = InOrder(Filter(self._tree), captures=True)
        self._capture_by(answered_by)
        self._output.begin(tun)
        if os.geteuid() == 0:
            try:
                become(usual_account())
            except PlatformError as error:
                _say(f"decoding with the rights of root: {error}")
        _say(f"tracing {tun}")

    def _capture_by(self, interfaces: Collection[int] | None) -> None:
        if self._capture is not None:
            self._capture.only_by(interfaces)

    def _show(self, now: float) -> None:
        for record in self._in_order.ready(now):
            self._output.write(record)
        self._output.flush()


@contextmanager
def _blocked(how: int) -> Iterator[None]:
    """SIGINT, or with SIG_UNBLOCK not."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(how, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _record(line: Mapping[str, Any]) -> Record:
    outside = line["outside"]
    decision = Decision(
        line["verdict"],
        line["reason"],
        line["policy"],
        line["rule"] or 0,
        line["interface"],
        line["path"],
        None if outside is None else ip_address(outside).packed,
        line["outside_port"],
    )
    data = b64decode(line["packet"])
    return Record(line["time"], line["direction"], line["length"], data, decision)
