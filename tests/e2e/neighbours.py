"""The link address of a neighbour: python -m tests.e2e.neighbours INTERFACE ADDRESS prints it."""

from __future__ import annotations

import socket
import sys
from ipaddress import ip_address

from router.platform.linux.frame_socket import link_of
from router.platform.linux.netlink.neighbours import link_address

if __name__ == "__main__":
    interface, address = sys.argv[1:]
    found = link_address(socket.if_nametoindex(interface), ip_address(address).packed)
    link = link_of(interface)
    print(found.hex(":") if found else "unknown", link and (link.has_header, link.address.hex(":")))
