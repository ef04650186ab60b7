"""Round trips of pings through the router, one after the other: the load of benches that look for
delays."""

from __future__ import annotations

import re
from typing import Final

from tests.e2e import ping
from tests.e2e.netns import Namespace
from tests.e2e.testbed import V4, Testbed

TIME: Final = re.compile(r"time=([\d.]+) ms")


def pings(
    bed: Testbed, host: int, seconds: float, interval: float, sending: Namespace | None = None
) -> list[float]:
    """In milliseconds, from a LAN host, or `sending`, to a far host; `interval` is in seconds.
    Stops the bench if one is lost."""
    number = round(seconds / interval)
    process = ping.start(
        sending or bed.client, V4.far(host), "-i", str(interval), "-c", str(number)
    )
    try:
        found = ping.read(process)
    finally:
        process.close()
    assert found.received == number, found.text
    return [float(time) for time in TIME.findall(found.text)]
