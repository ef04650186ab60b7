"""The channels of UDP mappings: opened within a budget, and watched by the loop.

Must not know: what a channel receives.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from router.flows.udp.flow import Mapping
from router.outbound.base import DatagramChannel, Outbound
from router.outbound.descriptors import Descriptors
from router.platform.base.descriptors import HasFileno

OutboundMapping = Mapping[Outbound, DatagramChannel]


class MappingSockets:
    """Opens and closes channels.

    watch, forget: of the event loop. limit: how many channels there may be at a time; descriptors:
    theirs are taken from there.
    """

    def __init__(
        self,
        watch: Callable[[HasFileno, Callable[[float], None]], None],
        forget: Callable[[HasFileno], None],
        limit: int,
        descriptors: Descriptors,
    ) -> None:
        self.limit = limit
        self.watch = watch
        """`watch(channel, readable)` calls `readable(now)` while there is something to read."""
        self._forget = forget
        self._descriptors = descriptors

    @property
    def free(self) -> int:
        """How many more there are descriptors for."""
        return self._descriptors.free

    def open(
        self, outbound: Outbound, version: int, source: bytes, ports: Iterator[int]
    ) -> DatagramChannel:
        """A channel; see Outbound.open_datagrams. Raises OSError."""
        if not self._descriptors.take(1):
            raise OSError(errno.EMFILE, "no descriptor is left for one more flow")
        try:
            return outbound.open_datagrams(version, source, ports)
        except OSError:
            self._descriptors.give_back(1)
            raise

    def close(self, channel: DatagramChannel) -> None:
        """Not in the round of the loop in which the channel may be readable."""
        self._forget(channel)
        channel.close()
        self._descriptors.give_back(1)
