"""Every operation by its name."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Final

from router.flows.limiter import TokenBucket
from router.platform.base.errors import PlatformError
from router.platform.linux.operations.answers import AnswerOperations
from router.platform.linux.operations.arguments import check_host_name
from router.platform.linux.operations.host_rules import host_rules, request_of, watch_host_rules
from router.platform.linux.operations.interfaces import InterfaceOperations
from router.platform.linux.operations.sockets import SocketOperations
from router.platform.linux.operations.tun import TunOperations
from router.platform.linux.process_descriptor import process_descriptor
from router.platform.linux.reread import Program
from router.platform.linux.undoer import Undoer
from router.platform.privileged.channel import Message

STARTS_PER_SECOND: Final = 2
START_BURST: Final = 20
"""Processes that read the rules, or resolve a name, of each of which one runs at a time."""
RESOLVER: Final = (sys.executable, "-P", "-m", "router.platform.host_names")


class LinuxOperations:
    """See Operations. command: that of the program that reads the rules file again, or watches
    it."""

    def __init__(self, command: Sequence[str]) -> None:
        self.router = process_descriptor(os.getppid())
        tun = TunOperations(self.router)
        interfaces = InterfaceOperations(tun)
        sockets = SocketOperations(tun)
        answers = AnswerOperations()
        self._program = Program(command)
        self._watch = Program(command)
        self._resolver = Program(RESOLVER)
        signal.signal(signal.SIGCHLD, lambda *_: self._reap())
        self._readers = TokenBucket(STARTS_PER_SECOND, START_BURST)
        self._resolvers = TokenBucket(STARTS_PER_SECOND, START_BURST)
        self._tun = tun
        self.with_records: Container[str] = {"add_routes", "reconcile", "count_answers"}
        self.by_name: Mapping[str, Callable[..., Message]] = {
            "open_tun": tun.open_tun,
            "add_routes": tun.add_routes,
            "reconcile": tun.reconcile,
            "prepare_interface": interfaces.prepare_interface,
            "endpoints": interfaces.endpoints,
            "host_rules": host_rules,
            "watch_host_rules": watch_host_rules,
            "request_of": request_of,
            "icmp_socket": sockets.icmp_socket,
            "raw_socket": sockets.raw_socket,
            "frame_socket": sockets.frame_socket,
            "resolve_neighbour": interfaces.resolve_neighbour,
            "listening_socket": sockets.listening_socket,
            "udp_sockets": sockets.udp_sockets,
            "control_socket": sockets.control_socket,
            "answer_counters": answers.answer_counters,
            "count_answers": answers.count_answers,
            "start_reread": self._start_reread,
            "start_watch": self._start_watch,
            "start_resolver": self._start_resolver,
            "nothing": lambda: Message(None),
        }

    @property
    def undoer(self) -> Undoer | None:
        return self._tun.undoer

    def close(self) -> bool:
        self._program.end()
        self._watch.end()
        self._resolver.end()
        return self.undoer is None or self.undoer.close()

    def _start_reread(self) -> Message:
        """Hands over the pipe that the program writes to. Raises PlatformError."""
        if not self._readers.take(time.monotonic()):
            raise PlatformError("the rules are read too often: try again in a second")
        return Message(None, [self._program.start()])

    def _start_watch(self) -> Message:
        """The same of the program that watches the rules, for changes from now on. Raises
        PlatformError."""
        if not self._readers.take(time.monotonic()):
            raise PlatformError("the rules are watched anew too often: try again in a second")
        return Message(None, [self._watch.start("watch", repr(time.time()))])

    def _start_resolver(self, host: str) -> Message:
        """The same of the program that resolves a name. Raises PlatformError."""
        name = check_host_name(host)
        if not self._resolvers.take(time.monotonic()):
            raise PlatformError("names are resolved too often: try again in a second")
        return Message(None, [self._resolver.start(name)])

    def _reap(self) -> None:
        self._program.reap()
        self._watch.reap()
        self._resolver.reap()
