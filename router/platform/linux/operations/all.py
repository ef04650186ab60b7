"""Every operation by its name."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Container, Mapping, Sequence

from router.platform.linux.operations.answers import AnswerOperations
from router.platform.linux.operations.flow_offload import FlowOffloadOperations
from router.platform.linux.operations.host_rules import (
    has_unreported_rules,
    host_rules,
    request_of,
    watch_host_rules,
)
from router.platform.linux.operations.interfaces import InterfaceOperations
from router.platform.linux.operations.sockets import SocketOperations
from router.platform.linux.operations.tun import TunOperations
from router.platform.linux.process_descriptor import process_descriptor
from router.platform.privileged.channel import Message
from router.platform.privileged.started import StartedPrograms
from router.platform.privileged.undoable import Watched
from router.platform.privileged.undoer import Undoer


class LinuxOperations:
    """See Operations. The commands are those of StartedPrograms."""

    def __init__(self, reread: Sequence[str], explain: Sequence[str]) -> None:
        self.router = process_descriptor(os.getppid())
        tun = TunOperations(self._watched())
        interfaces = InterfaceOperations(tun)
        sockets = SocketOperations(tun)
        answers = AnswerOperations()
        flow_offload = FlowOffloadOperations(tun)
        started = StartedPrograms(tun, reread, explain)
        self._started = started
        signal.signal(signal.SIGCHLD, lambda *_: started.reap())
        self._tun = tun
        self.with_records: Container[str] = {
            *("add_routes", "reconcile", "count_answers"),
            *("add_flows", "remove_flows"),
        }
        self.by_name: Mapping[str, Callable[..., Message]] = {
            "open_tun": tun.open_tun,
            "add_routes": tun.add_routes,
            "reconcile": tun.reconcile,
            "prepare_interface": interfaces.prepare_interface,
            "endpoints": interfaces.endpoints,
            "host_rules": host_rules,
            "has_unreported_rules": has_unreported_rules,
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
            "offload_flows": flow_offload.offload_flows,
            "add_flows": flow_offload.add_flows,
            "remove_flows": flow_offload.remove_flows,
            "start_reread": started.start_reread,
            "start_watch": started.start_watch,
            "start_resolver": started.start_resolver,
            "start_explain": started.start_explain,
            "start_web": started.start_web,
            "end_web": started.end_web,
            "nothing": lambda: Message(None),
        }

    def _watched(self) -> Watched | None:
        return None if self.router is None else Watched(str(self.router), [self.router])

    @property
    def undoer(self) -> Undoer | None:
        return self._tun.undoer

    def close(self) -> bool:
        self._started.end()
        return self.undoer is None or self.undoer.close()
