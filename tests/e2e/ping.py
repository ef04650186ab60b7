"""The real ping of iputils, its findings read from what it prints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.wait import BOUND_S, wait_until

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
        """How many answers; not more than the count (-c), although with a deadline (-w) ping may
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
        """How many errors were "administratively prohibited"."""
        return len(PROHIBITED.findall(self.text))

    @property
    def replies(self) -> list[tuple[int, int]]:
        """(length in bytes of the ICMP message, sequence number) of each answer."""
        return [(int(length), int(sequence)) for length, sequence in REPLY.findall(self.text)]

    @property
    def timeless(self) -> str:
        """The output without its times, to be compared with another run's; nor with what ping has
        sent beyond its count (-c) while it waited for an answer."""
        count = int(self.argv[self.argv.index("-c") + 1])
        lines = [
            line
            for line in TIMES.sub("", self.text).splitlines()
            if not SUMMARY.match(line)
            and ((reply := REPLY.match(line)) is None or int(reply[2]) <= count)
        ]
        return "\n".join([*lines, f"{self.received} received"])


def answered(namespace: Namespace, address: str, *options: str, count: int = 3) -> Pinged:
    """Pings until `count` answers are in: for addresses that should answer."""
    return _ping(
        namespace, address, "-c", str(count), "-i", INTERVAL_S, "-w", f"{BOUND_S:.0f}", *options
    )


def counted(namespace: Namespace, address: str, *options: str, count: int = 3) -> Pinged:
    """Sends `count` small pings, not one more, and waits for as many answers or errors.

    All at once: ping waits for late answers only as long as it has not had any when it has sent
    its last request.
    """
    return _ping(
        *(namespace, address, "-c", str(count), "-l", str(count)),
        *("-i", INTERVAL_S, "-W", f"{BOUND_S:.0f}", *options),
    )


def refused(namespace: Namespace, address: str, *options: str, count: int = 3) -> Pinged:
    """Sends `count` pings, and waits for as many errors: for addresses that are refused."""
    return _ping(
        namespace, address, "-c", str(count), "-i", INTERVAL_S, "-W", f"{BOUND_S:.0f}", *options
    )


def unanswered(namespace: Namespace, address: str, *options: str, count: int = 3) -> Pinged:
    """Sends `count` pings and waits a second after the last: for addresses without an answer,
    and for conditions that are polled."""
    return _ping(namespace, address, "-c", str(count), "-i", INTERVAL_S, "-W", "1", *options)


def start(namespace: Namespace, address: str, *options: str) -> Process:
    """A ping in the background; read() returns what it found."""
    return namespace.start("ping", "-n", *options, address)


def wait_for_the_rest(process: Process) -> None:
    """Of a ping without an end: waits until every request has been answered up to the last that
    has been until now."""
    last = max(_sequences(process), default=1)
    wait_until(
        lambda: _sequences(process) >= set(range(1, last + 1)),
        f"answers to all of {last} pings",
        detail=process.report,
    )


def _sequences(process: Process) -> set[int]:
    return {int(sequence) for _, sequence in REPLY.findall(process.stdout)}


def read(process: Process) -> Pinged:
    """Waits for a ping that was started and reads its findings."""
    code = process.wait(timeout=3 * BOUND_S)
    return Pinged(process.stdout + process.stderr, code, process.argv)


def _ping(namespace: Namespace, address: str, *options: str) -> Pinged:
    done = namespace.run("ping", "-n", *options, address, check=False)
    return Pinged(done.stdout + done.stderr, done.returncode, options)
