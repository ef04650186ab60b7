"""The answer to `status`: what the running router is doing, as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from router.engine.router import Router


def status(router: Router) -> Iterator[bytes]:
    """A JSON object, in pieces."""
    head = {
        "pid": os.getpid(),
        "uptime_s": round(router.loop.now - router.started, 3),
        "rules_file": str(Path(router.config.file).absolute()),
        "tun": router.tun.name,
        "drops": router.forwarder.drops.nonzero(),
        "flows": router.forwarder.flows(),
    }
    yield json.dumps(head).encode() + b"\n"
