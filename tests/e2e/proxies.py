"""SOCKS5 proxies on the home gateway, beside the path of everything else:

dante       TCP and UDP, at both families
microsocks  TCP alone, with user name and password
ssh         -D of OpenSSH, at the loopback address of another namespace
scripted    see scripted_proxy.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.testbed import V4, V6
from tests.e2e.wait import wait_until

SCRIPTED: Final = str(Path(__file__).with_name("scripted_proxy.py"))
DANTE, MICROSOCKS, DRIP, JOINED, GARBAGE, NEVER, BRIEF, SSH = range(1080, 1088)
SSHD: Final = 2222
USER, PASSWORD = "me", "a secret word"

DANTE_RULES: Final = f"""
logoutput: stderr
internal: {V4.gateway} port = {DANTE}
internal: {V6.gateway} port = {DANTE}
external: far0
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
client pass {{ from: ::/0 to: ::/0 }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{ from: 0.0.0.0/0 to: ::/0 }}
socks pass {{ from: ::/0 to: 0.0.0.0/0 }}
socks pass {{ from: ::/0 to: ::/0 }}
"""


@contextmanager
def dante(namespace: Namespace, directory: Path) -> Iterator[Process]:
    file = directory / "danted.conf"
    file.write_text(DANTE_RULES, encoding="utf-8")
    with started(namespace, DANTE, "danted", "-f", str(file)) as process:
        yield process


@contextmanager
def microsocks(namespace: Namespace, port: int = MICROSOCKS) -> Iterator[Process]:
    command = ("microsocks", "-i", V4.gateway, "-p", str(port))
    with started(namespace, port, *command, "-u", USER, "-P", PASSWORD) as process:
        yield process


@contextmanager
def ssh(client: Namespace, server: Namespace, directory: Path) -> Iterator[Process]:
    """ssh -D in one namespace, by an sshd of another."""
    for name in ("host", "user"):
        server.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name))
    Path("/run/sshd").mkdir(exist_ok=True)
    settings = {
        "Port": SSHD,
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
    }
    lines = [f"{name} {value}" for name, value in settings.items()]
    (directory / "sshd_config").write_text("\n".join([*lines, ""]), encoding="utf-8")
    daemon = ("/usr/sbin/sshd", "-D", "-e", "-f", str(directory / "sshd_config"))
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
    command = (
        *("ssh", "-N", "-D", f"127.0.0.1:{SSH}", "-p", str(SSHD), "-F", "none"),
        *("-i", str(directory / "user")),
        *(word for option in options for word in ("-o", option)),
        f"root@{V4.gateway}",
    )
    with started(server, SSHD, *daemon), started(client, SSH, *command) as process:
        yield process


@contextmanager
def scripted(namespace: Namespace) -> Iterator[Process]:
    ports = map(str, (DRIP, JOINED, GARBAGE, NEVER))
    with started(namespace, DRIP, sys.executable, SCRIPTED, V4.gateway, *ports) as process:
        yield process


@contextmanager
def started(namespace: Namespace, port: int, *command: str) -> Iterator[Process]:
    """A server that listens at a port of the namespace."""
    process = namespace.start(*command)
    try:
        wait_until(
            lambda: namespace.run("ss", "-Htln", f"sport = :{port}").stdout,
            f"{command[0]} to listen",
            detail=process.report,
        )
        yield process
        assert process.running, process.report()
    finally:
        process.stop()
        process.close()
