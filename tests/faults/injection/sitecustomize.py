"""Makes one call to the kernel fail, or reports all of them. Python imports this when it starts, if
its folder is in PYTHONPATH; the program under test knows nothing of it.

A step is a call of a function of C that enters the kernel, made by the router's code or by what
that calls of the standard library: "<process> <phase> <file>:<function> <call>". What calls there
are, the interpreter says (sys.setprofile), so a new one needs no word here.

TUNROUTER_FAULT names a JSON file: {"phase": path of a file with the phase, "fired": path of a file
that the step is written to when the fault happens}, and either "record": path of a file for all
steps, or "step", and "fault": a number of errno or a name below. A device is deleted by the test,
which has the rights to; then the last byte of the phase's file is VANISHED.
"""

from __future__ import annotations

import builtins
import json
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

FUNCTIONS = {"posix", "fcntl", "_socket", "_posixsubprocess", "resource", "io", "_io"}
"""Modules whose functions enter the kernel."""
METHODS = {"socket", "epoll", "FileIO"}
"""Types likewise."""
OWNERS = FUNCTIONS | METHODS
HARMLESS = {
    *("fspath", "fsencode", "fsdecode", "strerror", "getpid", "getppid", "geteuid", "getuid"),
    *("inet_pton", "inet_ntop", "inet_aton", "htons", "htonl", "ntohs", "ntohl", "CMSG_LEN"),
    *("CMSG_SPACE", "close", "fileno", "detach", "shutdown", "kill", "killpg", "_exit", "poll"),
    *("settimeout", "setblocking", "gettimeout", "timeout", "wait4", "waitpid", "WIFSTOPPED"),
    *("WIFSIGNALED", "WIFEXITED", "waitstatus_to_exitcode", "open_code", "register", "modify"),
    *("unregister", "get_terminal_size", "isatty", "getcwd", "scandir", "device_encoding"),
    *(
        "text_encoding",
        "getsockname",
        "getpeername",
        "urandom",
        "umask",
        "uname",
        "flock",
        "putenv",
    ),
}
"""Calls that do not fail, or whose failure nothing could notice."""
HERE = str(Path(__file__).resolve().parents[3] / "router") + os.sep
PROCESSES = {
    "router.platform.linux.guard": "guard",
    "router.platform.linux.undoer": "undoer",
    "router.engine.reload.reread": "reader",
}
VANISHED = b"!"
PATIENCE_S = 20.0


def _process() -> str:
    return next((PROCESSES[each] for each in sys.orig_argv if each in PROCESSES), "router")


class Injector:
    """The profile function of this process."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._process = _process()
        self._pid = os.getpid()
        # Reading it is no system call, which could be forbidden.
        with Path(plan["phase"]).open("rb") as file:
            self._phase = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        writes = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fired = os.open(plan["fired"], writes, 0o666)
        self._record = os.open(plan["record"], writes, 0o666) if "record" in plan else None
        self._step = plan.get("step")
        self._call = self._step.rpartition(" ")[2] if self._step else ""
        self._is_over = False
        self._fault = plan.get("fault")
        self._seen: set[str] = set()

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            name = called.__name__
            if name != self._call and (self._call or name in HARMLESS):
                return
            module = called.__module__ or type(called.__self__).__name__
            if module not in OWNERS or (module in ("io", "_io") and name != "open"):
                return
        elif event == "call" and frame.f_code.co_qualname == "socket.__init__":
            name = "socket"
        else:
            return
        site = _site(frame)
        if site is not None and os.getpid() == self._pid:
            self._reached(f"{site} {name}")

    def start(self) -> None:
        """Calls during an import are no steps, see _site, and not looked at, which takes half of
        the time of a start."""
        sys.setprofile(self)
        carry_out = builtins.__import__

        def imported(*arguments: Any, **named: Any) -> Any:
            before = sys.getprofile()  # none in an import by an import
            sys.setprofile(None)
            try:
                return carry_out(*arguments, **named)
            finally:
                sys.setprofile(None if self._is_over else before)

        builtins.__import__ = imported

    def _reached(self, call: str) -> None:
        phase = self._phase[:-1].decode().strip()
        step = f"{self._process} {phase} {call}"
        if step in self._seen:
            return
        self._seen.add(step)
        if self._record is not None:
            os.write(self._record, f"{step}\n".encode())
        if step == self._step:
            self._is_over = True
            sys.setprofile(None)
            os.write(self._fired, f"{step}\n".encode())
            self._fail()

    def _fail(self) -> None:
        match self._fault:
            case "SIGKILL":
                os.kill(self._pid, signal.SIGKILL)
            case "SIGSTOP":
                os.kill(self._pid, signal.SIGSTOP)
            case "vanish":
                deadline = time.monotonic() + PATIENCE_S
                while self._phase[-1:] != VANISHED and time.monotonic() < deadline:
                    pass  # sleeping is a system call too
            case int(number):
                raise OSError(number, os.strerror(number))


def _site(frame: FrameType) -> str | None:
    """The innermost function of the router that is being carried out, unless it is imported: then
    what fails is Python's own start."""
    site = None
    found: FrameType | None = frame
    while found is not None:
        file = found.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return None
        if site is None and file.startswith(HERE):
            site = f"{file.removeprefix(HERE)}:{found.f_code.co_qualname}"
        found = found.f_back
    return site


if "TUNROUTER_FAULT" in os.environ:
    Injector(json.loads(Path(os.environ["TUNROUTER_FAULT"]).read_text())).start()
