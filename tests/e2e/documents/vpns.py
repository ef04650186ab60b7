"""The far ends of the VPNs that pages set up, and the files with keys that they name.

Always true: each reaches its far end at 203.0.113.2, the namespace `vpn`, and has a network of its
own there.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.coexistence import (
    OPENVPN_PORT,
    Within,
    endpoint_by_eth0,
    far_end_of_second,
    with_sockets,
)
from tests.e2e.testbed import Testbed
from tests.e2e.wait import wait_until
from tests.e2e.wireguard import WireGuard

FAR_KEY: Final = "iI3TdZ8q7hyPWwofWvizeVKmh8dtJUNStYdRjbYw2Ws="
"""Of the far end, whose public key the pages have: d4YKLBgBEtoB/C7PX1A0NkRVMPF6r68oRLYUEqLsMFg=."""
OPENVPN: Final = "srv0"
OPENCONNECT: Final = "vpn0"


@contextmanager
def wg_quick_peer(bed: Testbed, directory: Path) -> Iterator[Within]:
    """For a tunnel that has 10.9.0.2 and fd09::2 with the private key in corp.key. Gives the place
    where wg-quick is to be called."""
    near = WireGuard(bed.router, "corp", ())
    key = directory / "corp.key"
    key.touch(mode=0o600)
    key.write_text(near.private_key, encoding="utf-8")
    # wg-quick sets it and leaves it so.
    bed.router.sysctl(ipv4__conf__all__src_valid_mark=1)
    with (
        with_sockets(bed.router) as within,
        endpoint_by_eth0(bed),
        far_end_of_second(bed, near.public_key, FAR_KEY),
    ):
        yield within


@contextmanager
def openvpn_server(bed: Testbed, directory: Path) -> Iterator[None]:
    """It pushes redirect-gateway; server.crt, client.crt and client.key are the clients'."""
    for name in ("server", "client"):
        subprocess.run(
            (
                *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                *("-keyout", directory / f"{name}.key", "-out", directory / f"{name}.crt"),
            ),
            check=True,
            capture_output=True,
        )
    server = bed.vpn.start(
        *("openvpn", "--dev", OPENVPN, "--dev-type", "tun", "--lport", str(OPENVPN_PORT)),
        *("--server", "10.7.0.0", "255.255.255.0", "--topology", "subnet", "--dh", "none"),
        *("--ca", str(directory / "client.crt"), "--cert", str(directory / "server.crt")),
        *("--key", str(directory / "server.key"), "--push", "redirect-gateway def1"),
    )
    try:
        wait_until(lambda: bed.vpn.has_interface(OPENVPN), OPENVPN, detail=server.report)
        bed.far.ip("route add 10.7.0.0/24 via 10.3.0.1")
        yield
    finally:
        server.close()
        bed.far.ip("route del 10.7.0.0/24")


OPENCONNECT_STAND_IN: Final = """\
#!/bin/sh
# As openconnect: the interface is there, the script configures it by what the server has said.
while [ $# -gt 0 ]; do
    case $1 in
        -s) script=$2; shift ;;
        -i) TUNDEV=$2; shift ;;
    esac
    shift
done
export TUNDEV INTERNAL_IP4_ADDRESS=10.9.0.2 INTERNAL_IP4_MTU=1390 INTERNAL_IP4_NETMASK=255.255.255.0
for reason in pre-init connect; do
    export reason
    sh -c "$script" || echo "script: exit $?"
done
echo "Continuing in background"
"""


@contextmanager
def openconnect_stand_in(bed: Testbed, directory: Path) -> Iterator[None]:
    """The command openconnect, with another tunnel behind it: it calls its script as openconnect
    does, with the variables that openconnect documents for vpnc-script."""
    near = WireGuard(bed.router, OPENCONNECT, ())
    with far_end_of_second(bed, near.public_key) as far_end:
        try:
            near.make()
            near.add_peer(far_end.public_key, ("0.0.0.0/0",), endpoint="203.0.113.2:51821")
            program = directory / "bin" / "openconnect"
            program.write_text(OPENCONNECT_STAND_IN, encoding="utf-8")
            program.chmod(0o755)
            yield
        finally:
            near.close()
