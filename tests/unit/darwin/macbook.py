"""The network of the Mac of the tests, as the reader of macOS finds it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from router.platform.darwin.present import present_network
from router.platform.darwin.resolvers import parse_resolvers
from router.platform.privileged.runtime import RuntimeDirectory
from router.policy.network import Network
from tests.unit.darwin.fake_mac import FakeMac

SCUTIL: Final = Path(__file__).with_name("scutil.txt")
"""Of the form that scutil(8) prints; the words are those of macOS 15."""
ABSENT: Final = RuntimeDirectory(lambda: (Path("/nonexistent/tunrouter"),), "df")


def macbook() -> Network:
    """No router runs there."""
    return present_network(
        FakeMac().kernel,
        ABSENT,
        sources_of=("default", "utun3"),
        resolvers=lambda _: parse_resolvers(SCUTIL.read_text(encoding="utf-8")),
    )
