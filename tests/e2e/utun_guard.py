"""The guard of Linux, which opens raw ICMP sockets with the options of xnu; see utun_router.

python -m tests.e2e.utun_guard
"""

from __future__ import annotations

import os
import sys

from router.platform.darwin.icmp_socket import configure
from router.platform.darwin.sockets import ICMP
from router.platform.linux.guard import main
from router.platform.linux.operations.sockets import SocketOperations
from router.platform.log import log_to
from router.platform.privileged.channel import Message
from router.platform.privileged.handed_over import handed_over
from tests.unit.darwin.xnu_sockets import XnuSocket


def icmp_socket(_operations: SocketOperations, version: int, name: str, index: int) -> Message:
    """It receives all ICMP, as that of xnu, but by its interface alone."""
    del name
    sock = XnuSocket(*ICMP[version])
    configure(sock, version, index)
    return handed_over(sock)


if __name__ == "__main__":
    SocketOperations.icmp_socket = icmp_socket  # type: ignore[assignment, method-assign]
    log_to(sys.stderr, os.environ)
    sys.exit(main(sys.argv[1:]))
