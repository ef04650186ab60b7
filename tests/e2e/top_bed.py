"""Traffic of several kinds at once, for the screen of `tunrouter top` and for its picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.processes import Process
from tests.e2e.testbed import V4, V6, Testbed
from tests.e2e.tunrouter import TUN, rules

STEADY: Final = str(Path(__file__).with_name("steady.py"))
PORT: Final = 8080
UPLOADED, BACKED_UP, WATCHED, MEASURED, LOSSY = 1, 2, 3, 4, 5
REFUSED, SILENT, LACKING = 6, 7, 8
"""Far hosts."""
HEAD: Final = f"""\
version: 1
tun: {{name: {TUN}, address: [{V4.tun}/30, "{V6.tun}/126"]}}
policies:
  home: {{type: direct, interface: eth0}}
  office: {{type: vpn, interface: wg0}}
  berlin: {{type: vpn, interface: wg7, on_down: reject}}
"""
RULES: Final = rules(
    f"{V4.far(UPLOADED)} -> home",
    f"{V4.far(BACKED_UP)} -> office",
    f"{V6.far(WATCHED)} -> home",
    f"{V4.far(MEASURED)} -> office",
    f"{V4.far(LOSSY)} -> home",
    f"{V4.far(REFUSED)} -> reject",
    f"{V4.far(SILENT)} -> drop",
    f"{V4.far(LACKING)} -> berlin",
    head=HEAD,
)
LOSS: Final = f"""
table inet lossy {{
    chain forward {{
        type filter hook forward priority 0
        ip daddr {V4.far(LOSSY)} icmp type echo-request numgen inc mod 4 == 0 drop
    }}
}}
"""
"""Of the queries to one host, each fourth is lost."""


@contextmanager
def traffic(bed: Testbed) -> Iterator[None]:
    """Until the block ends."""
    bed.gw.run("nft", "-f", "-", stdin=LOSS)
    with ExitStack() as stack:

        def start(process: Process) -> Process:
            stack.callback(process.close)
            return process

        listener = start(bed.far.start(sys.executable, STEADY, "listen", str(PORT)))
        listener.wait_for_output("listening")
        for address, rate in (
            (V4.far(UPLOADED), 400_000),
            (V4.far(BACKED_UP), 100_000),
            (V6.far(WATCHED), 20_000),
        ):
            send = (sys.executable, STEADY, "send", address, str(PORT), str(rate))
            start(bed.client.start(*send))
        start(bed.router.start(sys.executable, STEADY, "send", V4.far(UPLOADED), str(PORT), "9000"))
        for host in (MEASURED, LOSSY, REFUSED, SILENT):
            start(bed.client.start("ping", "-n", "-i", "0.1", V4.far(host)))
        yield
    bed.gw.run("nft", "delete", "table", "inet", "lossy")
