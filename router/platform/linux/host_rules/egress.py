"""Base chains of nf_tables at the hook egress of interfaces (family netdev), as rules with one
effect, whatever is in them.

Always true: a chain counts for each interface that it names, also by the beginning of names; a
kernel before 6.18 lists such a beginning as a name that does not end in a zero byte.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Final

from router.platform.linux.host_rules import constants as nf
from router.platform.linux.host_rules.conditions import REGISTER
from router.platform.linux.host_rules.nftables import base_chain, read_by
from router.platform.linux.netlink.dump import dump
from router.platform.linux.netlink.messages import Attributes, attributes, each_attribute
from router.policy.host_rules.model import Compare, Effect, Field, Load, Rule, Table

NAME_SIZE: Final = 16
VERSIONS: Final = (4, 6)


def read_egress() -> list[Table]:
    """Raises OSError."""
    return read_by(_read_chains)


def _read_chains(netlink: socket.socket) -> Iterator[Table]:
    for _, chain in dump(netlink, nf.NFT_MSG_GETCHAIN, nf.NFPROTO_NETDEV, nf.NFGENMSG):
        yield from egress_tables(chain)


def egress_tables(chain: Attributes) -> Iterator[Table]:
    """Of a chain of the family netdev, if it is one of that hook."""
    for base in base_chain(nf.NFPROTO_NETDEV, chain):
        if base.hook == nf.NF_NETDEV_EGRESS:
            hook = attributes(chain[nf.NFTA_CHAIN_HOOK])
            rules = [_rule(start) for start in _starts_of_names(hook)]
            words = f"nftables table netdev {base.table.name}"
            yield Table(words, VERSIONS, {base.name: rules}, [base.name])


def _rule(start: bytes) -> Rule:
    return (
        Load(REGISTER, Field.INTERFACE_NAME),
        Compare(REGISTER, start),
        Effect.SEES_EGRESS,
    )


def _starts_of_names(hook: Attributes) -> Iterator[bytes]:
    """Of a register with the name of an interface that the hook is on. A kernel before 5.5 lists
    one interface (NFTA_HOOK_DEV), each later one all of them."""
    if nf.NFTA_HOOK_DEVS not in hook:
        yield _start_of_name(hook.get(nf.NFTA_HOOK_DEV, b""))
    for kind, name in each_attribute(hook.get(nf.NFTA_HOOK_DEVS, b"")):
        if kind == nf.NFTA_DEVICE_NAME:
            yield _start_of_name(name)
        elif kind == nf.NFTA_DEVICE_PREFIX:
            yield name.rstrip(b"\0")


def _start_of_name(name: bytes) -> bytes:
    return name.ljust(NAME_SIZE, b"\0") if name.endswith(b"\0") else name
