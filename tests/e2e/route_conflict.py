"""A program that wants a route gone: it deletes it, and again each time that it is back.

    python quarrel.py 198.51.100.1

Writes a line for each time; ends by a signal.
"""

from __future__ import annotations

import subprocess
import sys

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl import RTMGRP_IPV4_ROUTE


def main(address: str) -> None:
    with IPRoute() as events:
        events.bind(RTMGRP_IPV4_ROUTE)
        while True:
            if subprocess.run(["ip", "route", "delete", address], check=False).returncode == 0:
                print("deleted", flush=True)
            while not any(
                message["event"] == "RTM_NEWROUTE" and message.get("dst") == address
                for message in events.get()
            ):
                pass


if __name__ == "__main__":
    main(sys.argv[1])
