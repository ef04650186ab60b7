"""Every operation by its name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Container, Mapping, Sequence

from router.platform.darwin.kernel import RoutingKernel, UtunKernel
from router.platform.darwin.operations.sockets import SocketOperations
from router.platform.darwin.operations.utun import UtunOperations
from router.platform.darwin.process_watch import watch_parent, watched
from router.platform.darwin.processes_kernel import ProcessesKernel
from router.platform.darwin.state import read_interfaces
from router.platform.darwin.undoable import DarwinUndoable
from router.platform.endpoints import EndpointMemory, read_endpoints
from router.platform.privileged.channel import Message
from router.platform.privileged.runtime import RuntimeDirectory
from router.platform.privileged.started import StartedPrograms
from router.platform.privileged.undoer import Undoer


class DarwinOperations:
    """See Operations. The commands are those of StartedPrograms."""

    def __init__(
        self,
        routing: RoutingKernel,
        utuns: UtunKernel,
        processes: ProcessesKernel,
        runtime: RuntimeDirectory,
        commands: tuple[Sequence[str], Sequence[str]],
    ) -> None:
        self.router = watch_parent(processes)
        system = DarwinUndoable(routing, processes)
        watch = None if self.router is None else watched(processes, os.getppid())
        utun = UtunOperations(routing, utuns, system, runtime, watch)
        sockets = SocketOperations(utun, runtime)
        started = StartedPrograms(utun, *commands)
        signal.signal(signal.SIGCHLD, lambda *_: started.reap())
        self._routing = routing
        self._endpoints = EndpointMemory()
        self._started = started
        self._utun = utun
        self.with_records: Container[str] = {"add_routes", "reconcile"}
        self.by_name: Mapping[str, Callable[..., Message]] = {
            "open_tun": utun.open_tun,
            "add_routes": utun.add_routes,
            "reconcile": utun.reconcile,
            "prepare_interface": utun.prepare_interface,
            "endpoints": self._read_endpoints,
            "icmp_socket": sockets.icmp_socket,
            "control_socket": sockets.control_socket,
            "start_reread": started.start_reread,
            "start_watch": started.start_watch,
            "start_resolver": started.start_resolver,
            "start_explain": started.start_explain,
            "start_web": started.start_web,
            "end_web": started.end_web,
            "nothing": lambda: Message(None),
        }

    @property
    def undoer(self) -> Undoer | None:
        return self._utun.undoer

    def close(self) -> bool:
        self._started.end()
        return self.undoer is None or self.undoer.close()

    def _read_endpoints(self) -> Message:
        """See Facts.endpoints: those that wireguard-go tells, as far as they can be read or were
        read before."""
        try:
            present = read_interfaces(self._routing)
        except OSError:
            return Message(())
        return Message(read_endpoints(present, {}, [], read=self._endpoints))
