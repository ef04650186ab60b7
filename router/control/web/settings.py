"""What the web process is started with, as JSON on its standard input: no other process can read it
there, unlike arguments.

Must not know: who starts it.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from router.config.listen import url


class Settings(NamedTuple):
    """tun: of the router that is asked; None: of the only one. token: what clients have to send."""

    tun: str | None
    host: str
    port: int
    token: str | None = None

    @property
    def url(self) -> str:
        return url(self.host, self.port)

    def __repr__(self) -> str:
        return f"Settings({self.tun}, {self.url})"


def settings_of(line: bytes) -> Settings:
    """Of a line that the guard has written. Raises ValueError."""
    return Settings(**json.loads(line))
