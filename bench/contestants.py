"""What is measured side by side: each is started in the router's namespace for one host.

Always true: while a contestant runs, its host, and nothing else, is routed to its TUN; when it has
ended, TUN and route are gone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from tests.e2e.netns import Namespace
from tests.e2e.proxies import find_sing_box
from tests.e2e.status import read_status
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import TUN, relayed, rules, running
from tests.e2e.wait import wait_until

DIRECT = {"type": "direct"}


class Contestant(Protocol):
    """`tun` is None where there is none: the bare path."""

    name: str
    host: str
    tun: str | None

    def running(self, bed: Testbed) -> AbstractContextManager[object]:
        """Runs it, ready, for the length of a with block."""
        ...


class BarePath:
    """The kernel alone forwards."""

    name = "bare path"
    host = V4.far(9)
    tun: str | None = None

    def running(self, bed: Testbed) -> AbstractContextManager[object]:
        return nullcontext(bed)


class OurRouter:
    """tunrouter, with one rule. path: `direct` or `relayed`."""

    name = "tunrouter"
    host = V4.far(1)
    tun: str | None = TUN

    def __init__(self, directory: Path, path: str = "direct") -> None:
        self._directory = directory
        text = rules(f"{self.host} -> home")
        self._rules = text if path == "direct" else relayed(text)

    def running(self, bed: Testbed) -> AbstractContextManager[object]:
        return running(bed.router, self._directory, self._rules)


class ScapyLoop:
    """The baseline: scapy for each packet, a socket for each ping."""

    name = "scapy loop"
    host = V4.far(2)
    tun: str | None = "scapy0"

    @contextmanager
    def running(self, bed: Testbed) -> Iterator[None]:
        command = (sys.executable, "-m", "bench.scapy_loop", "scapy0", "172.31.1.1/30", "eth0")
        process = bed.router.start(*command)
        try:
            process.wait_for_output("ready")
            bed.router.ip(f"route add {self.host} dev scapy0")
            yield
        finally:
            process.close()


class TunProgram:
    """A program that opens a TUN of its own, to which the host is then routed."""

    name: str
    host: str
    tun: str | None

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command

    @contextmanager
    def running(self, bed: Testbed) -> Iterator[None]:
        process = bed.router.start(*self._command)
        try:
            wait_until(lambda: self._is_up(bed), f"{self.name}'s TUN", detail=process.report)
            bed.router.ip(f"route add {self.host} dev {self.tun}")
            yield
        finally:
            process.close()

    def _is_up(self, bed: Testbed) -> bool:
        shown = bed.router.run("ip", "link", "show", "dev", str(self.tun), "up", check=False)
        return bool(shown.stdout)


class SingBox(TunProgram):
    """sing-box: a TUN whose only outbound is bound to the home interface.

    stack: what ends TCP and UDP, `system` or `gvisor`; mtu: of its TUN; 65535 is its
    default; outbound: its type and what else that needs.
    """

    name = "sing-box"
    host = V4.far(3)
    tun: str | None = "sing0"

    def __init__(
        self,
        program: str,
        directory: Path,
        stack: str = "system",
        mtu: int = 1500,
        outbound: Mapping[str, object] = DIRECT,
    ) -> None:
        self._config = directory / "sing-box.json"
        self._settings = sing_box_config(stack, mtu, outbound)
        super().__init__((program, "run", "-c", str(self._config)))

    @contextmanager
    def running(self, bed: Testbed) -> Iterator[None]:
        self._config.write_text(json.dumps(self._settings), encoding="utf-8")
        with super().running(bed):
            yield


def sing_box_config(
    stack: str, mtu: int, outbound: Mapping[str, object] = DIRECT
) -> dict[str, object]:
    """Its configuration file."""
    tun = {
        "type": "tun",
        "interface_name": "sing0",
        "address": ["172.31.2.1/30"],
        "mtu": mtu,
        "auto_route": False,
        "stack": stack,
    }
    return {
        "log": {"disabled": True},
        "inbounds": [tun],
        "outbounds": [{**outbound, "tag": "home", "bind_interface": "eth0"}],
        "route": {"final": "home"},
    }


def with_sing_boxes(
    directory: Path, sing_boxes: Iterable[tuple[str, int]]
) -> dict[str, Contestant]:
    """The bare path, tunrouter, and a sing-box for each (stack, MTU).

    By name; their configurations are written to `directory`.
    """
    found: dict[str, Contestant] = {
        BarePath.name: BarePath(),
        OurRouter.name: OurRouter(directory),
    }
    for stack, mtu in sing_boxes:
        sing_box = SingBox(find_sing_box(), directory, stack, mtu)
        sing_box.name = f"{SingBox.name} {stack} {mtu}"
        found[sing_box.name] = sing_box
    return found


def check_route(bed: Testbed, contestant: Contestant, sender: Namespace) -> None:
    """That what is sent to its host goes by its TUN, or by none where it has none."""
    from_lan = () if sender is bed.router else ("from", V4.client, "iif", "lan0")
    route = bed.router.run("ip", "route", "get", contestant.host, *from_lan).stdout
    expected = f"dev {contestant.tun or 'eth0'} "
    assert expected in route, f"{contestant.name}: expected {expected}, the route is {route}"


def answers_pass(bed: Testbed, contestant: Contestant, sender: Namespace) -> bool:
    """Whether what arrives passes its TUN: not by the direct path."""
    return not (isinstance(contestant, OurRouter) and sender is bed.router)


@contextmanager
def measured_run(
    bed: Testbed, contestant: Contestant, sender: Namespace
) -> Iterator[Callable[[float], None]]:
    """A contestant that runs, with its route looked at. Gives what the round ends with: called with
    the bytes that were transferred and have to have passed its TUN."""
    with contestant.running(bed):
        check_route(bed, contestant, sender)
        before = passed_by_tun(bed, contestant)

        def check_passed(transferred: float) -> None:
            if contestant.tun is not None:
                passed = passed_by_tun(bed, contestant) - before
                assert passed >= 0.9 * transferred, f"{contestant.name}: only {passed} by its TUN"

        yield check_passed


def passed_by_tun(bed: Testbed, contestant: Contestant) -> int:
    """Bytes that it has read out of its TUN and written into it so far; 0 where it has none. What
    the kernel carries at our TUN is counted by the router alone."""
    if contestant.tun is None:
        return 0
    if contestant.tun == TUN:
        return _counted(bed, "bytes_out") + _counted(bed, "bytes_in")
    return sum(bed.router.counter(contestant.tun, name) for name in ("tx_bytes", "rx_bytes"))


def packets_by_tun(bed: Testbed, contestant: Contestant) -> int:
    """The same in packets that it has read out of its TUN."""
    if contestant.tun is None:
        return 0
    if contestant.tun == TUN:
        return _counted(bed, "packets_out")
    return bed.router.counter(contestant.tun, "tx_packets")


def _counted(bed: Testbed, name: str) -> int:
    """By our router, for all policies."""
    return sum(each[name] or 0 for each in read_status(bed.router)["policies"].values())
