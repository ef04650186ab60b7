"""A start takes no longer than it must: what is needed later, or never, is not imported before."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import rules, running

NOT_BEFORE_READY = {
    "asyncio",
    "jsonschema",
    "netaddr",
    "prometheus_client",
    "pydantic",
    "pygments",
    "rich",
    "scapy",
    "starlette",
    "uvicorn",
}
IMPORTED = re.compile(r"^import time: .*\| +(\S+)$", re.MULTILINE)


def test_modules_for_output_are_not_imported_before_the_router_is_ready(
    bed: Testbed, tmp_path: Path
) -> None:
    """In none of its processes; Python logs what they import. Ranges need nothing more: netaddr is
    for the help of errors alone, and the rules of this test have none."""
    prefix = ("env", "PYTHONPROFILEIMPORTTIME=1")
    text = rules(f"{V4.far(1)} -> home", "198.18.7.10-198.18.7.99 -> drop")
    with running(bed.router, tmp_path, text, prefix=prefix) as router:
        imported = set(IMPORTED.findall(router.log))
    assert "router.engine.router" in imported
    assert not {name.partition(".")[0] for name in imported} & NOT_BEFORE_READY
