"""TCP and UDP servers at every address of a namespace, which return what they are sent:

python -m tests.soak.far

It prints `listening` when it does.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Final, cast

PORT: Final = 7007
PIECE: Final = 1 << 16
IP_FREEBIND: Final = 15
"""linux/in.h"""
IPV6_FREEBIND: Final = 78
"""linux/in6.h"""


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
    finally:
        writer.close()


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


async def main(addresses: list[str]) -> None:
    """UDP at each address, since an answer comes from the one that was asked."""
    loop = asyncio.get_running_loop()
    for address in addresses:
        version = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(version, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        if version == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        sock.bind((address, PORT))
        await loop.create_datagram_endpoint(_Echo, sock=sock)
    listener = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    server = await asyncio.start_server(_echo, sock=listener)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
