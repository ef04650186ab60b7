"""The picture of `tunrouter top` for the documents, of a router with real traffic.

as root:  python -m tests.e2e.top_picture docs/images/top.svg
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from router.cli.top.model import Model, Snapshot
from router.cli.top.screen import Top
from router.control.client import request
from tests.e2e.status import socket_of
from tests.e2e.testbed import opened_testbed
from tests.e2e.top_bed import RULES, traffic
from tests.e2e.tunrouter import running

SIZE: Final = (100, 30)
READINGS: Final = 40
INTERVAL_S: Final = 0.25
SHOWN_AS: Final = "/etc/tunrouter/rules.yaml"
"""Instead of the file of the test."""


def read(path: Path) -> Snapshot:
    status = request(path, {"command": "status"})
    at = time.monotonic()
    found = request(path, {"command": "flows", "version": 2})
    return Snapshot(at, {**status, "rules_file": SHOWN_AS}, found["flows"], found["unread"])


async def draw(readings: list[Snapshot]) -> str:
    """The last of these, as SVG."""
    app = Top(Model(), readings[0], lambda _: None, colours=True)
    async with app.run_test(size=SIZE) as pilot:
        for each in readings[1:]:
            app.take(each)
        await pilot.pause()
        return app.export_screenshot(title="tunrouter top")


def picture() -> str:
    """Readings of a router that carries traffic, drawn. Needs root."""
    with (
        opened_testbed() as bed,
        tempfile.TemporaryDirectory() as directory,
        running(bed.router, Path(directory), RULES),
        traffic(bed),
    ):
        readings = []
        for _ in range(READINGS):
            readings.append(read(socket_of(bed.router)))
            time.sleep(INTERVAL_S)
    return asyncio.run(draw(readings))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(picture(), encoding="utf-8")
