"""Clients of a control socket that break its protocol: they close it within a request, send
nothing, send a long random request, send a request byte by byte, or do not read the answer.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from random import Random


class MisbehavingClients:
    """Clients, `number` of them at once, that connect repeatedly for the length of a with block."""

    def __init__(self, path: Path, number: int) -> None:
        self._path = str(path)
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(Random(each),)) for each in range(number)
        ]
        self.done = 0

    def __enter__(self) -> MisbehavingClients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, random: Random) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(1)
                sock.connect(self._path)
                random.choice(
                    [
                        self._close_within_a_request,
                        self._send_nothing,
                        self._send_noise,
                        self._send_byte_by_byte,
                        self._read_nothing,
                    ]
                )(sock, random)
                self.done += 1

    def _close_within_a_request(self, sock: socket.socket, random: Random) -> None:
        sock.send(b'{"command": "status"}\n'[: random.randrange(1, 23)])

    def _send_nothing(self, _sock: socket.socket, random: Random) -> None:
        self._over.wait(random.random() / 5)

    def _send_noise(self, sock: socket.socket, random: Random) -> None:
        sock.sendall(random.randbytes(100_000))

    def _send_byte_by_byte(self, sock: socket.socket, random: Random) -> None:
        for byte in b'{"command": "status"}':
            sock.send(bytes([byte]))
            self._over.wait(random.random() / 100)

    def _read_nothing(self, sock: socket.socket, random: Random) -> None:
        sock.send(b'{"command": "status"}\n')
        self._over.wait(random.random() / 5)
