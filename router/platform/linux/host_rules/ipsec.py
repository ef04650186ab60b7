"""Outbound IPsec policies (linux/xfrm.h), as rules with one effect.

Always true: policies of single sockets do not count, since only packets of that socket see them. A
kernel without xfrm has none.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Final

from router.platform.linux.host_rules import constants as nf
from router.platform.linux.host_rules.conditions import REGISTER, SOURCE, header, masked_is
from router.platform.linux.netlink.dump import dump
from router.platform.linux.netlink.messages import Attributes
from router.platform.linux.only_on_linux import AF_NETLINK, NETLINK_XFRM
from router.policy.host_rules.model import Compare, Effect, Field, Load, Step, Table

POLICY: Final = Struct("=16x16B8xHxB4xi4x96x8xBB6x")
"""xfrm_userpolicy_info: of the selector the source (16 bytes), the family, the length of the
source's prefix and the interface; direction and action."""
SOURCE_SIZE: Final = 16
FAMILIES: Final[Mapping[int, tuple[int, int]]] = {
    socket.AF_INET: (4, 32),
    socket.AF_INET6: (6, 128),
}
"""IP version, and bits of an address."""
ALL_PACKETS: Final = ""
"""The name of the only chain."""


def read_ipsec() -> list[Table]:
    """Raises OSError."""
    try:
        with socket.socket(AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM) as netlink:
            netlink.bind((0, 0))
            policies = dump(netlink, nf.XFRM_MSG_GETPOLICY, socket.AF_UNSPEC, POLICY)
            return [table for fields, data in policies for table in _table(fields, data)]
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            return []
        raise


def _table(fields: tuple[int, ...], data: Attributes) -> Iterator[Table]:
    """Of an outbound policy that does more than let packets pass."""
    source, (family, length, interface, direction, action) = (
        bytes(fields[:SOURCE_SIZE]),
        fields[SOURCE_SIZE:],
    )
    if direction != nf.XFRM_POLICY_OUT:
        return
    if action == nf.XFRM_POLICY_ALLOW and nf.XFRMA_TMPL not in data:
        return
    steps: list[Step] = []
    versions: tuple[int, ...] = (4, 6)
    if family in FAMILIES:
        version, bits = FAMILIES[family]
        versions = (version,)
        steps += _source_steps(version, source[: bits // 8], length)
    if interface:
        steps.append(Load(REGISTER, Field.INTERFACE_INDEX))
        steps.append(Compare(REGISTER, interface.to_bytes(4, sys.byteorder)))
    steps.append(Effect.ENCRYPTS)
    yield Table("an IPsec policy", versions, {ALL_PACKETS: [steps]}, [ALL_PACKETS])


def _source_steps(version: int, source: bytes, length: int) -> Iterator[Step]:
    """That the source is in the prefix."""
    size = len(source)
    everything = (1 << 8 * size) - 1
    mask = everything & ~(everything >> length)
    return masked_is(header(SOURCE[version], size), source, mask.to_bytes(size, "big"))
