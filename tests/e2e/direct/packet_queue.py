"""The other end of a packet queue of the host (NFQUEUE): takes what a rule hands over, sends every
packet on but the third one, and prints a line for each: the interface by which it leaves, and its
length.

python -m tests.e2e.direct.packet_queue NUMBER
"""

from __future__ import annotations

import socket
import sys
from struct import Struct
from typing import Final

from router.platform.linux.netlink.messages import (
    attributes,
    pack_attribute,
    pack_message,
    unpack_messages,
)
from router.platform.linux.only_on_linux import AF_NETLINK

NETLINK_NETFILTER: Final = 12
PACKET, VERDICT, CONFIG = 0x300, 0x301, 0x302
"""Of NFNL_SUBSYS_QUEUE, and attributes of them (linux/netfilter/nfnetlink_queue.h)."""
NFQA_PACKET_HDR, NFQA_VERDICT_HDR, NFQA_IFINDEX_OUTDEV, NFQA_PAYLOAD = 1, 2, 6, 10
NFQA_CFG_CMD, NFQA_CFG_PARAMS = 1, 2
FAMILY: Final = Struct("!BBH")
COMMAND: Final = Struct("!BxH")
PARAMETERS: Final = Struct("!IB")
HEADER: Final = Struct("!IHB")
VERDICT_HEADER: Final = Struct("!II")
BIND, COPY_PACKET = 1, 2
DROP, ACCEPT = 0, 1
NLM_F_REQUEST: Final = 1
REFUSED: Final = 3
"""Which packet is not sent on."""
BUFFER: Final = 1 << 17
SO_RCVBUFFORCE: Final = 33
PATIENT_BUFFER: Final = 16 << 20


def main() -> None:
    number = int(sys.argv[1])
    with socket.socket(AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, PATIENT_BUFFER)

        def send(kind: int, attribute: bytes) -> None:
            body = FAMILY.pack(socket.AF_UNSPEC, 0, number) + attribute
            netlink.send(pack_message(kind, NLM_F_REQUEST, 0, body))

        send(CONFIG, pack_attribute(NFQA_CFG_CMD, COMMAND.pack(BIND, 0)))
        send(CONFIG, pack_attribute(NFQA_CFG_PARAMS, PARAMETERS.pack(BUFFER // 2, COPY_PACKET)))
        print("listening", flush=True)
        seen = 0
        while True:
            for message in unpack_messages(netlink.recv(BUFFER)):
                if message.kind != PACKET:
                    continue
                seen += 1
                found = attributes(message.body[FAMILY.size :])
                identity, _, _ = HEADER.unpack(found[NFQA_PACKET_HDR])
                index = int.from_bytes(found[NFQA_IFINDEX_OUTDEV], "big")
                print(socket.if_indextoname(index), len(found[NFQA_PAYLOAD]), flush=True)
                verdict = DROP if seen == REFUSED else ACCEPT
                header = VERDICT_HEADER.pack(verdict, identity)
                send(VERDICT, pack_attribute(NFQA_VERDICT_HDR, header))


if __name__ == "__main__":
    main()
