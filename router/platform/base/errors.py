"""The error that ends a start, a reload or a run."""

from __future__ import annotations


class PlatformError(Exception):
    """The system refused something that the router needs; the message names the remedy."""
