"""Routes as the guard receives them, in JSON. A million routes have few labels, each sent once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from router.policy.routes.capture import Label, Route


def pack_routes(routes: Iterable[Route]) -> dict[str, Any]:
    """`labels`, and the routes with the position of theirs."""
    labels: dict[Label, int] = {}
    packed = [
        (version, first, length, labels.setdefault(label, len(labels)))
        for version, first, length, label in routes
    ]
    return {"routes": packed, "labels": [_pack_label(label) for label in labels]}


def unpack_routes(message: dict[str, Any]) -> list[Route]:
    """Raises ValueError, TypeError, LookupError for what is none."""
    labels = [_unpack_label(*label) for label in message["labels"]]
    return [
        Route(version, first, length, labels[number])
        for version, first, length, number in message["routes"]
    ]


def _pack_label(label: Label) -> Sequence[Any]:
    mtu, source, metrics = label
    return mtu, source, [(kind, payload.hex()) for kind, payload in metrics]


def _unpack_label(mtu: int, source: int | None, metrics: Iterable[tuple[int, str]]) -> Label:
    return Label(mtu, source, tuple((kind, bytes.fromhex(text)) for kind, text in metrics))
