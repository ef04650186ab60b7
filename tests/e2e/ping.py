"""The real ping of iputils, its findings read from what it prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.wait import BOUND_S

SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received(?:, \+(\d+) duplicates)?")
PROHIBITED = re.compile(r"Packet filtered|[Pp]rohibited")
REPLY = re.compile(r"^(\d+) bytes from .*icmp_seq=(\d+)", re.MULTILINE)
TIMES = re.compile(
    r" time=[\d.]+ ms|, time \d+ms$|^rtt .*$|^round-trip .*$|, pipe \d+$", re.MULTILINE
)

INTERVAL_S = "0.05"


@dataclass(frozen=True)
class Pinged:
    """What one ping found. `text` is its whole output, `argv` how it was started."""

    text: str
    exit_code: int
    argv: Sequence[str]

    @property
    def received(self) -> int:
        """How many answers; not more than were asked for, although with a deadline (-w) ping may
        have sent one more when the last of them comes."""
        match = SUMMARY.search(self.text)
        assert match, f"no summary line:\n{self.text}"
        received = int(match[2])
        if "-c" in self.argv:
            return min(received, int(self.argv[self.argv.index("-c") + 1]))
        return received

    @property
    def duplicates(self) -> int:
        return self.text.count("DUP!")

    @property
    def prohibited(self) -> int:
        """How many errors said "administratively prohibited"."""
        return len(PROHIBITED.findall(self.text))

    @property
    def replies(self) -> list[tuple[int, int]]:
        """(length in bytes of the ICMP message, sequence number) of each answer."""
        return [(int(length), int(sequence)) for length, sequence in REPLY.findall(self.text)]

    @property
    def timeless(self) -> str:
        """The output without its times, to be compared with another run's."""
        return TIMES.sub("", self.text)


def answered(namespace: Namespace, address: str, *options: str, count: int = 3) -> Pinged:
    """Pings until `count` answers are in: for addresses that should answer."""
    return _ping(
        namespace, address, "-c", str(count), "-i", INTERVAL_S, "-w", f"{BOUND_S:.0f}", *options
    )


def unanswered(namespace: Namespace, address: str, *options: str, count: int = 3) -> Pinged:
    """Sends `count` pings and waits a second after the last: for errors and for silence."""
    return _ping(namespace, address, "-c", str(count), "-i", INTERVAL_S, "-W", "1", *options)


def start(namespace: Namespace, address: str, *options: str) -> Process:
    """A ping in the background; read() tells what it found."""
    return namespace.start("ping", "-n", *options, address)


def read(process: Process) -> Pinged:
    """Waits for a ping that was started and reads its findings."""
    code = process.wait(timeout=3 * BOUND_S)
    return Pinged(process.stdout + process.stderr, code, process.argv)


def _ping(namespace: Namespace, address: str, *options: str) -> Pinged:
    done = namespace.run("ping", "-n", *options, address, check=False)
    return Pinged(done.stdout + done.stderr, done.returncode, options)
