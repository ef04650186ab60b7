"""A real WireGuard tunnel between two namespaces: wireguard-go on both ends.

Always true: the interface exists exactly as long as its process runs; neither end gets a route
that it was not given (no default route in particular).

Each end has a /run/wireguard of its own: the control sockets there are named by interface, and
both ends, and other test runs, may use the name wg0.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field

from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.wait import wait_until

PRIVATE_SOCKETS = (
    "mkdir -p /run/wireguard && mount -t tmpfs wireguard /run/wireguard"
    ' && exec wireguard-go -f "$0"'
)


def _wg(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["wg", *arguments], input=stdin, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@dataclass
class WireGuard:
    """One end of the tunnel."""

    namespace: Namespace
    interface: str
    addresses: tuple[str, ...]
    mtu: int = 1420
    private_key: str = field(default_factory=lambda: _wg("genkey"))
    process: Process | None = None

    @property
    def public_key(self) -> str:
        return _wg("pubkey", stdin=self.private_key)

    def open(self) -> None:
        """Makes the interface and brings it up, without a peer yet."""
        self.make()
        self.bring_up()

    def make(self) -> None:
        """Makes the interface, without an address, and down."""
        self.process = self.namespace.start("sh", "-c", PRIVATE_SOCKETS, self.interface)
        what = f"{self.interface} of wireguard-go"
        wait_until(self._listens, what, detail=self.process.report)
        wait_until(self._answers, what, detail=self.process.report)
        self._set("private-key", "/dev/stdin", stdin=self.private_key)

    def bring_up(self) -> None:
        self.namespace.ip(
            f"link set {self.interface} mtu {self.mtu} up",
            *(f"addr add {address} dev {self.interface}" for address in self.addresses),
        )

    def close(self) -> None:
        """Ends the process, and with it the interface."""
        if self.process is None:
            return
        self.process.close()
        self.process = None
        wait_until(
            lambda: not self.namespace.has_interface(self.interface), f"{self.interface} to go"
        )

    def listen(self, port: int) -> None:
        self._set("listen-port", str(port))

    def add_peer(self, key: str, allowed: tuple[str, ...], endpoint: str | None = None) -> None:
        where = () if endpoint is None else ("endpoint", endpoint)
        self._set("peer", key, *where, "allowed-ips", ",".join(allowed))

    @property
    def has_handshake(self) -> bool:
        times = self._inside("wg", "show", self.interface, "latest-handshakes").stdout.split()[1::2]
        return any(int(time) for time in times)

    def _set(self, *arguments: str, stdin: str = "") -> None:
        done = self._inside("wg", "set", self.interface, *arguments, stdin=stdin)
        assert done.returncode == 0, f"wg set {arguments}: {done.stderr}"

    def _listens(self) -> bool:
        """Whether its control socket listens: where it refuses because it does not listen yet, wg
        takes the process for dead and removes the socket."""
        sockets = self.namespace.run("ss", "-Hxl").stdout.split()
        return any(each.endswith(f"/wireguard/{self.interface}.sock") for each in sockets)

    def _answers(self) -> bool:
        return self._inside("wg", "show", self.interface).returncode == 0

    def _inside(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Runs a command where both the interface and its control socket are seen."""
        assert self.process is not None, f"{self.interface} is closed"
        target = ["nsenter", "-t", str(self.process.pid), "--net", "--mount"]
        return subprocess.run(
            [*target, *argv], input=stdin, check=False, capture_output=True, text=True
        )
