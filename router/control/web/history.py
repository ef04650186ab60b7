"""Throughput of each policy over the last hour, from the sums of `status`.

Always true: SAMPLES samples of MOST_POLICIES policies at most are kept, whatever the rules name;
where a sum is not known, or the router was not reached or is another one, there is a gap.

Must not know: where a status comes from.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from router.control.client import NoAnswerError

INTERVAL: Final = 10.0
"""Seconds between two samples."""
FIRST: Final = 2.0
"""The same after the first status of a router, so that there is something to see soon."""
SAMPLES: Final = 360
MOST_POLICIES: Final = 64

Rate = float | None
"""Bytes a second."""


class HasStatus(Protocol):
    """See Answers."""

    async def status(self) -> dict[str, Any]: ...


class Sums(NamedTuple):
    """of: bytes out and in by policy."""

    pid: int
    time: float
    of: Mapping[str, tuple[int | None, int | None]]


class Sample(NamedTuple):
    time: float
    rates: Mapping[str, tuple[Rate, Rate]]


class History:
    def __init__(self) -> None:
        self._former: Sums | None = None
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)

    def add(self, now: float, status: Mapping[str, Any] | None) -> None:
        """now: seconds since 1970. status: None where there is none."""
        sums = None if status is None else _sums(now, status)
        former, self._former = self._former, sums
        if sums is None or former is None or former.pid != sums.pid or now <= former.time:
            self._samples.append(Sample(now, {}))
            return
        rates = {
            name: _rates(former.of[name], total, now - former.time)
            for name, total in sums.of.items()
            if name in former.of
        }
        self._samples.append(Sample(now, rates))

    @property
    def _is_first(self) -> bool:
        return self._former is not None and not self._samples[-1].rates

    def as_json(self) -> dict[str, Any]:
        names = dict.fromkeys(name for sample in self._samples for name in sample.rates)
        nothing: tuple[Rate, Rate] = None, None
        return {
            "interval_s": INTERVAL,
            "times": [round(sample.time) for sample in self._samples],
            "policies": {
                name: {
                    way: [sample.rates.get(name, nothing)[place] for sample in self._samples]
                    for place, way in enumerate(("out", "in"))
                }
                for name in names
            },
        }

    async def sample(self, answers: HasStatus, clock: Callable[[], float] = time.time) -> None:
        """For ever."""
        while True:
            try:
                status = await answers.status()
            except NoAnswerError:
                self.add(clock(), None)
            else:
                self.add(clock(), status)
            await asyncio.sleep(FIRST if self._is_first else INTERVAL)


def _sums(now: float, status: Mapping[str, Any]) -> Sums:
    """Of those policies with the most traffic."""
    policies = status["policies"]
    busiest = sorted(
        policies,
        key=lambda name: -(policies[name]["bytes_out"] + (policies[name]["bytes_in"] or 0)),
    )
    kept = {
        name: (policies[name]["bytes_out"], policies[name]["bytes_in"])
        for name in busiest[:MOST_POLICIES]
    }
    return Sums(status["pid"], now, kept)


def _rates(
    former: tuple[int | None, int | None], now: tuple[int | None, int | None], seconds: float
) -> tuple[Rate, Rate]:
    def rate(before: int | None, after: int | None) -> Rate:
        if before is None or after is None or after < before:
            return None
        return round((after - before) / seconds, 1)

    return rate(former[0], now[0]), rate(former[1], now[1])
