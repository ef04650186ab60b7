"""The program that names the TUN's queue of each packet (TUNSETSTEERINGEBPF, linux/if_tun.h).

    0   what programs of this machine send
    1   what the system forwards for others

A packet that has come in by an interface keeps its index (skb_iif in net/core/dev.c), which is 0
where a packet was made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from router.platform.linux.bpf.instructions import R0, R1, Line, if_equal, leave, load, put

INGRESS_INTERFACE: Final = 36
"""Of struct __sk_buff (linux/bpf.h)."""


def program() -> Sequence[Line]:
    """See the module."""
    return (
        load(R0, R1, INGRESS_INTERFACE),
        if_equal(R0, 0, "end"),
        put(R0, 1),
        "end",
        leave(),
    )
