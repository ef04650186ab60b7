"""What Docker makes of a machine, without the engine: its bridge, its rules, a container behind
them, and a command `docker` that publishes a port as the engine does.

The rules are those that Docker 20.10 of Debian 12 has made (iptables-save), and FORWARD drops, as
where the engine has turned forwarding on. tests/release runs the same page with the engine itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.netns import Namespace, join, unique_prefix
from tests.e2e.proxies import started
from tests.e2e.testbed import Testbed

BRIDGE: Final = "docker0"
RULES: Final = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
"""
STAND_IN: Final = """\
#!/bin/sh
case $1 in
    run)
        iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 \\
            -j DNAT --to-destination 172.17.0.2:80
        iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT
        echo 3a1f ;;
    exec)
        shift 5   # docker exec web wget -q -O - URL
        exec nsenter --target={pid} --net curl --silent "$2" ;;
    rm)
        iptables -t nat -F DOCKER
        iptables -F DOCKER
        echo web ;;
esac
"""


@contextmanager
def docker_stand_in(bed: Testbed, directory: Path) -> Iterator[None]:
    """A container `web` of an image `web`, which serves /greeting at its port 80."""
    container = Namespace(f"{unique_prefix()}-web")
    container.create()
    served = directory / "web"
    try:
        join((bed.router, "veth0", container, "eth0"))
        container.ip("addr add 172.17.0.2/16 dev eth0", "link set eth0 up")
        bed.router.ip(
            f"link add {BRIDGE} type bridge",
            f"addr add 172.17.0.1/16 dev {BRIDGE}",
            f"link set {BRIDGE} up",
            f"link set veth0 master {BRIDGE} up",
        )
        container.ip("route add default via 172.17.0.1")
        bed.router.run("iptables-restore", stdin=RULES)
        command = (sys.executable, "-m", "http.server", "--directory", str(served), "80")
        with started(container, 80, *command) as server:
            program = directory / "bin" / "docker"
            program.write_text(STAND_IN.format(pid=server.pid), encoding="utf-8")
            program.chmod(0o755)
            yield
    finally:
        bed.router.run("nft", "flush", "ruleset")
        bed.router.ip(f"link del {BRIDGE}")
        container.delete()
