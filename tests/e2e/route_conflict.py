"""A program that deletes a route, and again each time that it is restored.

    python route_conflict.py 198.51.100.1

Writes a line for each time; ends by a signal.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTMGRP_IPV4_ROUTE

ANY: Final = {"scope": 255, "proto": 0, "type": 0}
"""RT_SCOPE_NOWHERE, RTPROT_UNSPEC, RTN_UNSPEC of linux/rtnetlink.h: whatever the route's are."""


def main(address: str) -> None:
    with IPRoute() as events, IPRoute() as routes:
        events.bind(RTMGRP_IPV4_ROUTE)
        while True:
            deleted = False
            with suppress(NetlinkError):  # none is left: the route, and the one beneath it
                while True:
                    routes.route("del", dst=f"{address}/32", **ANY)
                    deleted = True
            if deleted:
                print("deleted", flush=True)
            while not any(
                message["event"] == "RTM_NEWROUTE" and message.get("dst") == address
                for message in events.get()
            ):
                pass


if __name__ == "__main__":
    main(sys.argv[1])
