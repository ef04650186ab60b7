"""Other VPNs in the router's namespace, besides the test bed's own wg0: a second WireGuard tunnel,
the same as a full tunnel by the real wg-quick, and OpenVPN.

Always true: their far end is the `vpn` namespace, reached over the home network; `far` sees their
packets come in at vpn0 from an address of their own, other than wg0's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e import ping
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.testbed import V4, V6, Family, Testbed
from tests.e2e.wait import wait_until
from tests.e2e.wireguard import WireGuard

OUTSIDE = "203.0.113.0/24"
SECOND = "wg1"
SECOND_PORT = 51821
SECOND_OWN = {4: "10.9.0.2", 6: "fd09::2"}
SECOND_FAR = {4: "10.9.0.1", 6: "fd09::1"}
EVERYTHING = (V4.every, V6.every)

OPENVPN = "ov0"
OPENVPN_PORT = 1194
OPENVPN_OWN, OPENVPN_FAR = "10.7.0.2", "10.7.0.1"

HOLD_SOCKETS = (
    "mkdir -p /run/wireguard && mount -t tmpfs wireguard /run/wireguard"
    " && echo mounted && exec sleep infinity"
)


class Within(Namespace):
    """A network namespace as a process in it sees it: with the process's own /run/wireguard, where
    the control sockets of its WireGuard tunnels are."""

    def __init__(self, namespace: Namespace, process: Process) -> None:
        super().__init__(namespace.name)
        self._pid = str(process.pid)

    def command(self, *argv: str) -> list[str]:
        return ["nsenter", "-t", self._pid, "--net", "--mount", *argv]


def within_tunnel(bed: Testbed) -> Within:
    """The router's namespace where the endpoints of wg0 can be read."""
    assert bed.router_wg.process is not None
    return Within(bed.router, bed.router_wg.process)


@contextmanager
def far_end_of_second(
    bed: Testbed, public_key: str, private_key: str | None = None
) -> Iterator[WireGuard]:
    """The listening side of the second tunnel, for one peer. private_key: its own, else any."""
    far_end = WireGuard(bed.vpn, SECOND, ("10.9.0.1/24", "fd09::1/64 nodad"))
    if private_key is not None:
        far_end.private_key = private_key
    try:
        far_end.open()
        far_end.listen(SECOND_PORT)
        far_end.add_peer(public_key, (f"{SECOND_OWN[4]}/32", f"{SECOND_OWN[6]}/128"))
        bed.far.ip("route add 10.9.0.0/24 via 10.3.0.1", "route add fd09::/64 via fd03::1")
        yield far_end
    finally:
        far_end.close()
        bed.far.ip("route del 10.9.0.0/24", "route del fd09::/64")


@contextmanager
def second_tunnel(bed: Testbed) -> Iterator[WireGuard]:
    """wg1 beside wg0, as bare as that: no routes but those to its own networks."""
    near = WireGuard(bed.router, SECOND, ("10.9.0.2/24", "fd09::2/64 nodad"))
    with far_end_of_second(bed, near.public_key) as far_end:
        try:
            near.open()
            near.add_peer(
                far_end.public_key, EVERYTHING, endpoint=f"{V4.vpn_outside}:{SECOND_PORT}"
            )
            assert ping.answered(bed.router, SECOND_FAR[4], count=1).received == 1
            yield near
        finally:
            near.close()


class FullTunnel:
    """wg1 by wg-quick, with its rules, its mark and its table."""

    def __init__(self, within: Within, config: Path) -> None:
        self.within = within
        self._config = config

    def up(self) -> None:
        self._quick("up")
        wait_until(
            lambda: ping.unanswered(self.within, SECOND_FAR[4], count=1).received,
            "the far end of the full tunnel",
        )

    def down(self) -> None:
        self._quick("down")
        wait_until(lambda: not self.within.has_interface(SECOND), f"{SECOND} to go")

    def move(self, endpoint: str) -> None:
        """From the next time it comes up its far end is at another IPv4 address."""
        text = self._config.read_text(encoding="utf-8")
        moved = f"Endpoint = {endpoint}:{SECOND_PORT}"
        self._config.write_text(re.sub("Endpoint = .*", moved, text), encoding="utf-8")

    def _quick(self, what: str) -> None:
        userspace = "WG_QUICK_USERSPACE_IMPLEMENTATION=wireguard-go"
        self.within.run("env", userspace, "wg-quick", what, str(self._config))


@contextmanager
def endpoint_by_eth0(bed: Testbed) -> Iterator[None]:
    """Keeps wg0's own packets out of the full tunnel, as a VPN client does.

    Otherwise they pass through wg1, each end of wg0 adopts the other's address within wg1 as its
    endpoint (roaming), and wg0 does not recover when wg1 is down. Whether that happens depends on
    the source address that a version of wireguard-go answers from. By the network, as OpenVPN has
    a route to the address itself.
    """
    route = f"{OUTSIDE} via {V4.gateway}"
    bed.router.ip(f"route add {route}")
    try:
        yield
    finally:
        bed.router.ip(f"route del {route}")


@contextmanager
def with_sockets(namespace: Namespace) -> Iterator[Within]:
    """A place for commands such as wg-quick, whose tunnels have their control sockets there."""
    holder = namespace.start("sh", "-c", HOLD_SOCKETS)
    try:
        holder.wait_for_output("mounted")
        yield Within(namespace, holder)
    finally:
        holder.close()


@contextmanager
def full_tunnel(bed: Testbed, directory: Path) -> Iterator[FullTunnel]:
    """A full tunnel, not up yet; afterwards it is down."""
    near = WireGuard(bed.router, SECOND, ())
    # wg-quick sets it and leaves it so.
    bed.router.sysctl(ipv4__conf__all__src_valid_mark=1)
    with (
        with_sockets(bed.router) as within,
        endpoint_by_eth0(bed),
        far_end_of_second(bed, near.public_key) as far_end,
    ):
        config = directory / f"{SECOND}.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"[Interface]\nPrivateKey = {near.private_key}\nMTU = 1420\n"
            "Address = 10.9.0.2/24, fd09::2/64\n"
            f"[Peer]\nPublicKey = {far_end.public_key}\nAllowedIPs = {', '.join(EVERYTHING)}\n"
            f"Endpoint = {V4.vpn_outside}:{SECOND_PORT}\n",
            encoding="utf-8",
        )
        tunnel = FullTunnel(within, config)
        yield tunnel
        if within.has_interface(SECOND):
            tunnel.down()


class OpenVpn:
    """The router's end of an OpenVPN tunnel with a static key."""

    def __init__(self, bed: Testbed, key: Path) -> None:
        self._bed = bed
        self._key = key
        self._process: Process | None = None

    def up(self, *options: str) -> None:
        """Returns when packets go through and the routes, if any, are there."""
        self._process = self._bed.router.start(
            *("openvpn", "--dev", OPENVPN, "--dev-type", "tun", "--proto", "udp", "--nobind"),
            *("--remote", V4.vpn_outside, str(OPENVPN_PORT), "--secret", str(self._key)),
            *("--ifconfig", OPENVPN_OWN, OPENVPN_FAR, "--cipher", "AES-256-CBC", *options),
        )
        self._process.wait_for_output("Initialization Sequence Completed")
        assert ping.answered(self._bed.router, OPENVPN_FAR, count=1).received == 1

    def down(self) -> None:
        """By SIGTERM, so that it takes back its routes."""
        if self._process is not None:
            assert self._process.stop() == 0, self._process.report()
            self._process.close()
            self._process = None

    def close(self) -> None:
        if self._process is not None:
            self._process.close()


@contextmanager
def openvpn(bed: Testbed, directory: Path) -> Iterator[OpenVpn]:
    """A tunnel, not up yet; afterwards it is gone."""
    key = directory / "static.key"
    bed.vpn.run("openvpn", "--genkey", "secret", str(key))
    far_end = bed.vpn.start(
        *("openvpn", "--dev", OPENVPN, "--dev-type", "tun", "--proto", "udp", "--float"),
        *("--lport", str(OPENVPN_PORT), "--secret", str(key), "--cipher", "AES-256-CBC"),
        *("--ifconfig", OPENVPN_FAR, OPENVPN_OWN),
    )
    near = OpenVpn(bed, key)
    try:
        wait_until(lambda: bed.vpn.has_interface(OPENVPN), OPENVPN, detail=far_end.report)
        bed.far.ip("route add 10.7.0.0/24 via 10.3.0.1")
        yield near
        near.down()
    finally:
        near.close()
        far_end.close()
        bed.far.ip("route del 10.7.0.0/24")


def second_own(family: Family) -> str:
    """The address that the second tunnel's packets come from."""
    return SECOND_OWN[family.version]
