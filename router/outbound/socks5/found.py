"""What a proxy was found not to do, by what it has answered.

Theory of operation. What it has refused is remembered for KEPT seconds, in which it is not asked
again: applications are refused at once, so that they use something else. The next request after
that asks.

Always true: each is said once in the log.

Must not know: what is requested.
"""

from __future__ import annotations

import logging
from typing import Final

from router.config.model import Proxy
from router.outbound.socks5.tools import Loop
from router.policy.proxies import ProxyLack

log = logging.getLogger(__name__)

KEPT: Final = 60.0
OF_FAMILY: Final = {4: ProxyLack.IPV4, 6: ProxyLack.IPV6}


class Found:
    """Of one proxy."""

    def __init__(self, proxy: Proxy, loop: Loop) -> None:
        self._proxy = proxy
        self._loop = loop
        # Until when, by the clock of the loop; those that are over stay.
        self._until: dict[ProxyLack, float] = {}

    @property
    def all(self) -> list[ProxyLack]:
        """In the order in which they were found first."""
        return [lack for lack, until in self._until.items() if self._loop.now < until]

    def lacks(self, lack: ProxyLack) -> bool:
        return self._loop.now < self._until.get(lack, float("-inf"))

    def refuses(self, version: int) -> bool:
        """Whether it has refused destinations of an IP version."""
        return self.lacks(OF_FAMILY[version])

    def has_refused(self, version: int) -> None:
        self.add(OF_FAMILY[version])

    def add(self, lack: ProxyLack, kept: float = KEPT) -> None:
        """kept: for how many seconds it counts."""
        if lack not in self._until:
            log.warning("proxy %s %s; %s", self._proxy, lack, lack.consequence)
        self._until[lack] = self._loop.now + kept
