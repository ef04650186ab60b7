"""TCP by a SOCKS5 proxy: through tunrouter, by curl's own SOCKS support, and through sing-box, and
through hev-socks5-tunnel and tun2socks where they are installed, in one run, interleaved, all of
them by the same dante.

    make bench          or, as root:  python -m bench.socks [--rounds 3] [--seconds 2]

A stream in each direction, and connections, sixteen at a time and one after the other, each with an
empty answer, all by curl, to a host a hop behind the gateway on which the proxy runs. In every
round each contestant is started afresh, and the TUN's counter of bytes must have moved by what was
transferred.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.contestants import (
    BarePath,
    Contestant,
    OurRouter,
    SingBox,
    TunProgram,
    measured_run,
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
CONNECTIONS = {"16 at once": PARALLEL, "in turn": ()}
TIMED_OUT = 28
"""curl(1): the end of a stream, which ends by time."""
STREAMS = {
    "up": ("-w", "%{speed_upload}", "-H", "Expect:", "-T", "/dev/zero"),
    "down": ("-w", "%{speed_download}"),
}
SING_BOXES = (("system", 1500), ("gvisor", 1500), ("system", 65535), ("gvisor", 65535))

WHERE_INSTALLED = {"hev-socks5-tunnel", "tun2socks"}
"""What is measured where it is installed."""

MIN_STREAM_OF_CURL = 0.8
MIN_CONNECTS_OF_CURL = 0.5
MIN_OF_OTHERS = 1.0
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


class HevSocks5Tunnel(TunProgram):
    """hev-socks5-tunnel, where it is installed; its configuration is a file."""

    name = "hev-socks5-tunnel"
    host = V4.far(4)
    tun: str | None = "hev0"

    def __init__(self, program: str, directory: Path) -> None:
        file = directory / "hev.yml"
        file.write_text(
            f"tunnel: {{name: {self.tun}, mtu: 1500, ipv4: 172.31.3.1}}\n"
            f"socks5: {{address: {V4.gateway}, port: {proxies.DANTE}, udp: udp}}\n",
            encoding="utf-8",
        )
        super().__init__((program, str(file)))


class Tun2Socks(TunProgram):
    """tun2socks (xjasonlyu), where it is installed; it leaves its TUN to be enabled."""

    name = "tun2socks"
    host = V4.far(5)
    tun: str | None = "t2s0"

    def __init__(self, program: str, directory: Path) -> None:  # noqa: ARG002 - it has no file
        proxy = f"socks5://{V4.gateway}:{proxies.DANTE}"
        options = ("-device", f"tun://{self.tun}", "-proxy", proxy, "-interface", "eth0")
        super().__init__((program, *options, "-mtu", "1500", "-loglevel", "error"))

    def _is_up(self, bed: Testbed) -> bool:
        bed.router.run("ip", "link", "set", str(self.tun), "up", check=False)
        return super()._is_up(bed)


def contestants(directory: Path) -> dict[str, Contestant]:
    """By name; their configurations are written to `directory`."""
    found: dict[str, Contestant] = {CURL: Curl(), OurRouter.name: OurSocks(directory)}
    outbound = {"type": "socks", "server": V4.gateway, "server_port": proxies.DANTE}
    for stack, mtu in SING_BOXES:
        sing_box = SingBox(proxies.find_sing_box(), directory, stack, mtu, outbound)
        sing_box.name = f"{SingBox.name} {stack} {mtu}"
        found[sing_box.name] = sing_box
    for make in (HevSocks5Tunnel, Tun2Socks):
        path = shutil.which(make.name)
        if path is not None:
            found[make.name] = make(path, directory)
    return found


@dataclass
class Measured:
    """All rounds of one contestant: Gbit/s by direction, connections a second by the way they are
    opened."""

    rates: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STREAMS})
    connects: dict[str, list[float]] = field(
        default_factory=lambda: {way: [] for way in CONNECTIONS}
    )

    def rate(self, direction: str) -> float:
        return median(self.rates[direction])

    def per_second(self, way: str) -> float:
        return median(self.connects[way])


def measure(
    bed: Testbed, sending: Namespace, contestant: Contestant, measured: Measured, seconds: int
) -> None:
    """One round of one contestant."""
    with measured_run(bed, contestant, sending) as check_passed:
        _connects(sending, contestant, WARM_UP_CONNECTS, PARALLEL)
        for way, options in CONNECTIONS.items():
            measured.connects[way].append(_connects(sending, contestant, CONNECTS, options))
        transferred = 0.0
        for direction, options in STREAMS.items():
            rate = _stream(sending, contestant, seconds, *options)
            measured.rates[direction].append(rate)
            transferred += rate * 1e9 / 8 * seconds
        check_passed(transferred)


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


def _connects(
    sending: Namespace, contestant: Contestant, count: int, options: Sequence[str]
) -> float:
    """Connections a second by one process, each with a request and its answer."""
    began = time.perf_counter()
    sending.run(*_curl(contestant, f"[1-{count}]", *options))
    return count / (time.perf_counter() - began)


def table(all_measured: dict[str, Measured]) -> str:
    curl = all_measured[CURL]
    head = "".join(f"{f'{name} Gbit/s':>14}{'/curl':>7}" for name in STREAMS)
    head += "".join(f"{f'{way} /s':>16}{'/curl':>7}" for way in CONNECTIONS)
    lines = [f"{'':<24}{head}"]
    for name, one in all_measured.items():
        values = [(14, 2, one.rate(each), curl.rate(each)) for each in STREAMS]
        values += [(16, 0, one.per_second(each), curl.per_second(each)) for each in CONNECTIONS]
        cells = (
            f"{value:>{width}.{digits}f}{value / own:>7.2f}" for width, digits, value, own in values
        )
        lines.append(f"{name:<24}{''.join(cells)}")
    return "\n".join(lines)


def verdict(measured: dict[str, Measured]) -> bool:
    """Prints what is required and whether it was met."""
    ours, curl = measured[OurRouter.name], measured[CURL]
    others = {name: one for name, one in measured.items() if name not in (CURL, OurRouter.name)}
    theirs = [one for name, one in others.items() if not name.endswith(" 65535")]
    passed = True
    for way in CONNECTIONS:
        connects = ours.per_second(way)
        what = f"connects {way}, of"
        ratio = connects / curl.per_second(way)
        passed &= required(f"{what} curl's", ratio, at_least=MIN_CONNECTS_OF_CURL)
        ratio = connects / max(one.per_second(way) for one in theirs)
        passed &= required(f"{what} the others'", ratio, at_least=MIN_OF_OTHERS)
    for name in sorted(WHERE_INSTALLED.difference(name.split()[0] for name in others)):
        print(f"not measured: {name}, which is not installed")
    for direction in STREAMS:
        rate = ours.rate(direction)
        of_curl = rate / curl.rate(direction)
        passed &= required(f"{direction}, of curl's", of_curl, at_least=MIN_STREAM_OF_CURL)
        ratio = rate / max(one.rate(direction) for one in theirs)
        what = f"{direction}, of the others' at 1500"
        passed &= required(what, ratio, at_least=MIN_OF_OTHERS)
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
