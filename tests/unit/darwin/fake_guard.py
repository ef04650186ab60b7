"""The guard's program over the fakes of xnu, for a runtime directory:

    python -m tests.unit.darwin.fake_guard DIRECTORY

It changes a FakeMac, and speaks with the router as the real one does. Beside the directory there
are two datagram sockets for the frames of the utun: what is sent to `into` comes out of it, and
what the router writes is sent to `out`, if that is there.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import threading
from pathlib import Path

from router.platform.darwin.kernel import ControlSocket
from router.platform.darwin.operations.all import DarwinOperations
from router.platform.privileged import guard
from router.platform.privileged.runtime import RuntimeDirectory
from tests.unit.darwin.fake_mac import FakeMac
from tests.unit.darwin.fake_processes import processes

LARGEST = 1 << 17


class PumpedMac(FakeMac):
    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def control_socket(self) -> ControlSocket:
        made = super().control_socket()
        arguments = self.opened[-1].device, self._directory
        threading.Thread(target=pump, args=arguments, daemon=True).start()
        return made


def pump(device: socket.socket, directory: Path) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as frames:
        frames.bind(str(directory / "into"))
        while True:
            ready, _, _ = select.select([device, frames], [], [])
            if frames in ready:
                device.send(frames.recv(LARGEST))
            if device in ready:
                frame = device.recv(LARGEST)
                with contextlib.suppress(OSError):
                    frames.sendto(frame, str(directory / "out"))
                if not frame:
                    return


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    mac = PumpedMac(directory.parent)
    runtime = RuntimeDirectory(lambda: (directory,), "df")
    guard.KEEPS_UNTIL_RECEIVED = True  # type: ignore[misc] # as on a Mac
    sys.exit(guard.serve(DarwinOperations(mac.kernel, mac, processes(), runtime, ((), ()))))
