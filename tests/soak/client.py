"""Traffic of one host to one far host, until SIGTERM; then one line of JSON with what it counted:

    python -m tests.soak.client 198.51.100.1

One connection that lasts, whose every byte is compared; a new connection, and a datagram, every
INTERVAL_S. Always true: a wait is bounded, and what is not answered within it is lost. A piece of
the lasting connection that takes longer than LATE_S is late, which is printed at once: TCP repeats
it ever more rarely, so that on a busy machine it may take that long. asyncio.wait_for bounds no
wait here: until Python 3.12 it loses a cancellation that comes together with the answer.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import time
from collections import Counter
from random import Random
from typing import Final

from tests.soak.far import PORT

INTERVAL_S: Final = 0.05
LATE_S: Final = 5.0
PATIENCE_S: Final = 60.0
"""Of a connection: TCP's repetitions at 0.2, 0.6, 1.4, … 25.4 and 51 s, which are lost if each
falls into a flood."""
DATAGRAM_PATIENCE_S: Final = 2.0
PIECE: Final = 20_000


class Client:
    """counts: what was tried, answered, lost."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._random = Random(host)
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    async def run(self) -> None:
        """Waits have `asyncio.timeout`: `wait_for` of Python 3.11 may lose the cancellation."""
        tasks = [
            asyncio.create_task(each) for each in (self._last(), self._connect(), self._send())
        ]
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        print("running", flush=True)
        await ended.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        print(json.dumps({**self.counts, "faults": self.faults[:5]}), flush=True)

    async def _last(self) -> None:
        """One connection, opened once: its end is a fault."""
        try:
            reader, writer = await asyncio.open_connection(self._host, PORT)
            while True:
                piece = self._random.randbytes(PIECE)
                writer.write(piece)
                answer = await self._answer_of(reader)
                if answer != piece:
                    raise OSError("other bytes than were sent")  # noqa: TRY301 - a fault like others
                self.counts["stream bytes"] += PIECE
                await asyncio.sleep(INTERVAL_S)
        except (OSError, EOFError, TimeoutError) as error:
            self.counts["streams lost"] += 1
            self.faults.append(f"stream: {error!r}")

    async def _answer_of(self, reader: asyncio.StreamReader) -> bytes:
        """Raises TimeoutError, EOFError, OSError."""
        reading = asyncio.ensure_future(reader.readexactly(PIECE))
        begin = time.monotonic()
        ready, _ = await asyncio.wait((reading,), timeout=LATE_S)
        if not ready:
            print("late", flush=True)
            self.counts["pieces late"] += 1
        async with asyncio.timeout(PATIENCE_S):
            answer = await reading
        waited = int((time.monotonic() - begin) * 1000)
        self.counts["longest wait of a piece, ms"] = max(
            waited, self.counts["longest wait of a piece, ms"]
        )
        return answer

    async def _connect(self) -> None:
        while True:
            self.counts["connections"] += 1
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._one_connection()
            except (OSError, EOFError, TimeoutError) as error:
                self.counts["connections lost"] += 1
                self.faults.append(f"connection: {error!r}")
            await asyncio.sleep(INTERVAL_S)

    async def _one_connection(self) -> None:
        reader, writer = await asyncio.open_connection(self._host, PORT)
        writer.write(b"request")
        await reader.readexactly(7)
        writer.close()
        await writer.wait_closed()

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect((self._host, PORT))
            while True:
                self.counts["datagrams"] += 1
                number = self.counts["datagrams"].to_bytes(8, "big")
                try:
                    await loop.sock_sendall(sock, number)
                    async with asyncio.timeout(DATAGRAM_PATIENCE_S):
                        await self._answer(sock, number)
                except (OSError, TimeoutError):
                    self.counts["datagrams lost"] += 1
                await asyncio.sleep(INTERVAL_S)

    async def _answer(self, sock: socket.socket, number: bytes) -> None:
        while await asyncio.get_running_loop().sock_recv(sock, 100) != number:
            pass


if __name__ == "__main__":
    asyncio.run(Client(sys.argv[1]).run())
