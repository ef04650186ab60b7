"""The steps on a Mac: what programs see through the router, by each policy.

A step raises Failed, or AssertionError; what it returns is said beside its name.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.macos.far_end import NETWORK

TUN, OFFICE = "utun11", "utun12"
HOST: Final = "10.99.0.7"
PROXY: Final = ("127.0.0.1", 11080)
REPLY, DROP, REJECT = "203.0.113.1", "203.0.113.2", "203.0.113.3"
DNS_SERVER: Final = "9.9.9.9"
WEB: Final = ("www.example.com", 80)
PAGE: Final = "127.0.0.1:19469"
"""Of the router itself."""
TARGETS: Final = (DNS_SERVER, WEB[0])
"""Public hosts that are asked, each a few times."""
PATIENCE: Final = 30.0
ROUTER: Final = (sys.executable, "-m", "router.cli")


class Failed(Exception):
    """The message says what was expected and what was seen."""


def rules(web: str, *, proxy: bool) -> str:
    """web: the address of WEB; by the proxy where there is one."""
    lines = [
        "version: 1",
        f'tun: {{name: {TUN}, address: [192.168.77.1/30, "fd77:7::1/126"], mtu: 1500}}',
        f'web: {{listen: "{PAGE}"}}',
        "policies:",
        "  home: {type: direct, interface: default}",
        f"  office: {{type: vpn, interface: {OFFICE}}}",
        f'  proxy: {{type: socks5, server: "{PROXY[0]}:{PROXY[1]}"}}',
        "rules:",
        f"  - {{cidr: {REPLY}, policy: reply}}",
        f"  - {{cidr: {DROP}, policy: drop}}",
        f"  - {{cidr: {REJECT}, policy: reject}}",
        f"  - {{cidr: {NETWORK}, policy: office}}",
        f"  - {{cidr: {DNS_SERVER}, policy: home}}",
        f"  - {{cidr: {web}, policy: {'proxy' if proxy else 'home'}}}",
    ]
    return "\n".join(lines) + "\n"


def run(*command: str, check: bool = True, timeout: float = PATIENCE) -> str:
    """Output and errors. Raises Failed where the exit status is not 0 and that is checked."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout)
    text = done.stdout + done.stderr
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{text}")
    return text


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"waited {PATIENCE:g} s for {what}")
        time.sleep(0.05)


def status() -> Any:
    return json.loads(run(*ROUTER, "status", "--json"))


@contextmanager
def started(*command: str, ready: str, log: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that has written a line with `ready`; it is killed in the end."""
    file = log or Path("/dev/null")
    with file.open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, text=True)
        try:
            if log is not None:
                wait_until(
                    lambda: ready in log.read_text() or process.poll() is not None, f"'{ready}'"
                )
                if process.poll() is not None:
                    raise Failed(f"{' '.join(command)} has ended:\n{log.read_text()}")
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def far_end() -> Iterator[subprocess.Popen[str]]:
    """With its split route, as a VPN program adds it. A utun goes some time after its program."""
    wait_until(lambda: not has_interface(OFFICE), f"{OFFICE} to be free")
    command = (sys.executable, "-m", "tests.macos.far_end", OFFICE)
    with started(*command, ready="ready", log=Path("far_end.log")) as process:
        run("route", "-n", "add", "-net", NETWORK, "-interface", OFFICE)
        yield process


def pings(host: str, *options: str) -> bool:
    """Whether all of three are answered."""
    return " 0.0% packet loss" in run("ping", "-n", "-c", "3", *options, host, check=False)


def answered_here() -> str:
    assert pings(REPLY), f"{REPLY} is answered by the router"
    return REPLY


def dropped() -> str:
    assert not pings(DROP, "-t", "2"), f"{DROP} is silent"
    return DROP


def rejected() -> str:
    """TCP at once, by a reset."""
    with socket.socket() as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect((REJECT, 80))
        except ConnectionRefusedError:
            return REJECT
    raise Failed(f"{REJECT} is not refused")


def by_the_office() -> str:
    assert pings(HOST), f"{HOST} answers by {OFFICE}"
    assert pings(HOST, "-s", "1200"), "longer ones too"
    found = run("dig", "+short", "+tries=1", "+time=10", f"@{HOST}", "example.com", "A")
    assert found.strip() == "192.0.2.1", found
    return HOST


def traced() -> str:
    """The router and the far gateway are hops before the host."""
    text = run("traceroute", "-I", "-n", "-q", "1", "-w", "5", "-m", "5", HOST)
    hops = re.findall(r"^ *\d+ +(\S+)", text, re.MULTILINE)
    assert hops[0] == "192.168.77.2", text
    assert hops[-1] == HOST, text
    return " ".join(hops)


def dig_by_home() -> str:
    command = ("dig", "+short", "+tries=2", "+time=10", f"@{DNS_SERVER}", "example.com", "A")
    by_udp, by_tcp = run(*command), run(*command, "+tcp")
    assert by_udp.strip(), "an answer by UDP"
    assert sorted(by_udp.split()) == sorted(by_tcp.split()), (by_udp, by_tcp)
    return by_udp.replace("\n", " ").strip()


def curl_web(address: str, policy: str) -> str:
    before = status()["policies"][policy]["packets_out"]
    resolved = f"{WEB[0]}:{WEB[1]}:{address}"
    run("curl", "-sS", "--fail", "-o", "/dev/null", "--resolve", resolved, f"http://{WEB[0]}/")
    assert status()["policies"][policy]["packets_out"] > before, f"by '{policy}'"
    return f"{address} by '{policy}'"


def reloaded(file: Path) -> str:
    """A rule more answers another address."""
    added = "203.0.113.9"
    text = file.read_text(encoding="utf-8")
    file.write_text(text + f"  - {{cidr: {added}, policy: reply}}\n", encoding="utf-8")
    run(*ROUTER, "reload")
    assert pings(added), f"{added} is answered after the reload"
    return added


def page() -> str:
    """The web process answers for the router, and is not root."""

    def answered() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://{PAGE}/api/status", None, 5) as got:
            return bool(json.load(got)["pid"] == status()["pid"])
        return False

    wait_until(answered, f"an answer at {PAGE}")
    listed = run("ps", "-axo", "user=,command=").splitlines()
    users = {line.split()[0] for line in listed if "router.control.web" in line}
    assert users and "root" not in users, users
    return ", ".join(sorted(users))


def is_up(policy: str) -> bool:
    return bool(status()["policies"][policy]["state"] == "up")


def refused_while_it_is_gone(vpn: subprocess.Popen[str]) -> str:
    """The VPN goes with its interface: its hosts are refused, and by no other way out."""
    vpn.kill()
    vpn.wait()
    wait_until(lambda: not is_up("office"), "'office' to be down")
    with socket.socket() as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect((HOST, 80))
        except ConnectionRefusedError:
            return HOST
    raise Failed(f"{HOST} is not refused while {OFFICE} is gone")


def back_again(stack: ExitStack) -> str:
    stack.enter_context(far_end())
    wait_until(lambda: is_up("office"), "'office' to be up")
    return by_the_office()


def explained() -> str:
    found = json.loads(run(*ROUTER, "explain", HOST, "-c", "rules.yaml", "--json"))
    assert (found["policy"], found["interface"]) == ("office", OFFICE), found
    return f"{HOST}: {found['policy']} by {found['interface']}"


def has_interface(name: str) -> bool:
    return name in run("ifconfig", "-l").split()


def has_microsocks() -> bool:
    return shutil.which("microsocks") is not None


def kill_router(process: subprocess.Popen[str]) -> None:
    """And wait for its guard and undoer: the utun goes, and the files."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not has_interface(TUN), f"{TUN} to go")
    wait_until(lambda: not Path("/var/run/tunrouter").exists(), "the undoer")
