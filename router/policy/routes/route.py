"""A route of the plan. Must not know: how routes are planned; the guard imports this too."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from router.policy.network import Metrics


class Label(NamedTuple):
    """What a route into the TUN has besides its prefix.

    mtu      in bytes, of the outbound that it leads to
    source   the address that programs are bound to by it, a local one; None: that of the TUN
    metrics  attributes of the outbound's own route, which hold for connections from `source`
    """

    mtu: int
    source: int | None = None
    metrics: Metrics = ()


class Route(NamedTuple):
    """A route into the TUN. Many share one label object."""

    version: int
    first: int
    length: int
    label: Label

    @property
    def mtu(self) -> int:
        return self.label.mtu

    @property
    def source(self) -> int | None:
        return self.label.source
