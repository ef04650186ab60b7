"""`tunrouter init` where a default route and a real WireGuard tunnel are: its file passes `check`,
and with the comments before its rules taken away it sends the VPN's networks into the VPN.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.e2e import ping
from tests.e2e.snapshot import state
from tests.e2e.testbed import V4, V6, Testbed
from tests.e2e.tunrouter import PROGRAM, running

PROXY = "ALL_PROXY=socks5h://me:not-for-others@198.51.100.9:1080"


def tunrouter(bed: Testbed, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = bed.router.run("env", PROXY, PROGRAM, *arguments, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_the_first_rules_run(bed: Testbed, tmp_path: Path) -> None:
    for family in (V4, V6):
        bed.router.ip(f"route add {family.office_net} dev wg0")
    before = state(bed.router)
    file = tmp_path / "rules.yaml"
    assert tunrouter(bed, "init", "-o", str(file)).returncode == 0
    again = tunrouter(bed, "init", "-o", str(file))
    assert (again.returncode, "never overwritten" in again.stderr) == (1, True)
    assert state(bed.router) == before

    text = file.read_text()
    assert "not-for-others" not in text
    for each in ("interface: default", "interface: wg0", 'server: "198.51.100.9:1080"'):
        assert each in text
    checked = tunrouter(bed, "check", "-c", str(file))
    assert checked.returncode == 0
    assert "unused-policy" not in checked.stdout

    text = re.sub(r"^  # (?=- \{.*policy: wg0)", "  ", text, flags=re.MULTILINE)
    text = re.sub(r"^  proxy: .*\n", "", text, flags=re.MULTILINE)
    with running(bed.router, tmp_path, text) as router:
        assert tunrouter(bed, "check", "-c", str(file)).returncode == 0
        for family in (V4, V6):
            ping.answered(bed.router, family.office(1), count=1)
        router.wait_until_up("wg0", V4.wg0, V6.wg0)
    assert state(bed.router) == before
