"""IP versions and the address families of sockets."""

from __future__ import annotations

import socket
from typing import Final

FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
VERSION: Final[dict[int, int]] = {int(family): version for version, family in FAMILY.items()}
LEVEL: Final = {4: socket.IPPROTO_IP, 6: socket.IPPROTO_IPV6}
"""Of socket options."""
