"""A second gateway at the router's home network: another address of the same host, with a link
address of its own, so that one sees by which of the two a packet comes.

    router             gw
    eth0 ------------- home0      192.0.2.1     2001:db8:2::1
                       home5      192.0.2.5     fe80::5
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.e2e.testbed import Testbed

LINK: Final = "home5"
LINK_ADDRESS: Final = "02:00:00:00:00:05"
"""The same each time, as neighbours remember it."""
ADDRESS: Final = {4: "192.0.2.5", 6: "fe80::5"}


@contextmanager
def second_gateway(bed: Testbed) -> Iterator[None]:
    """Without routes by it."""
    bed.gw.ip(
        f"link add link home0 name {LINK} address {LINK_ADDRESS} type macvlan mode bridge",
        f"link set {LINK} up",
        f"addr add {ADDRESS[4]}/32 dev {LINK}",
        f"addr add {ADDRESS[6]}/64 dev {LINK} nodad",
    )
    try:
        yield
    finally:
        bed.gw.ip(f"link del {LINK}")
