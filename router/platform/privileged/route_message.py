"""Routes as the guard receives them: records, and the few labels that they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from router.platform.base.errors import PlatformError
from router.platform.privileged.prefix_records import pack_records, unpack_records
from router.policy.prefixes import WIDTHS
from router.policy.routes.route import Label, Route

MOST_MTU: Final = 0xFFFFFFFF
METRICS: Final = range(1, 18)
"""RTAX_LOCK to RTAX_FASTOPEN_NO_COOKIE (linux/rtnetlink.h)."""
LONGEST_METRIC: Final = 16
"""Bytes of the only one that is no number, the name of a congestion control."""


def pack_routes(routes: Iterable[Route]) -> tuple[Sequence[Any], bytes]:
    """The labels, as JSON can have them, and the records. Raises PlatformError if there are too
    many."""
    labels: dict[Label, int] = {}
    records = pack_records(
        (version, first, length, labels.setdefault(label, len(labels)))
        for version, first, length, label in routes
    )
    return [_pack_label(label) for label in labels], records


def unpack_routes(labels: Sequence[Sequence[Any]], records: bytes) -> list[Route]:
    """Raises PlatformError, ValueError, TypeError, LookupError for what is none."""
    shared = [_unpack_label(*label) for label in labels]
    return [
        Route(version, first, length, shared[number])
        for version, first, length, number in unpack_records(records)
    ]


def _pack_label(label: Label) -> Sequence[Any]:
    mtu, source, metrics = label
    return mtu, source, [(kind, payload.hex()) for kind, payload in metrics]


def _unpack_label(mtu: int, source: int | None, metrics: Iterable[tuple[int, str]]) -> Label:
    label = Label(mtu, source, tuple((kind, bytes.fromhex(text)) for kind, text in metrics))
    if not (
        _is_number(mtu, MOST_MTU)
        and (source is None or _is_number(source, (1 << WIDTHS[6]) - 1))
        and all(
            _is_number(kind, METRICS[-1]) and kind in METRICS and len(payload) <= LONGEST_METRIC
            for kind, payload in label.metrics
        )
    ):
        raise PlatformError(f"no label of a route: {label}")
    return label


def _is_number(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
