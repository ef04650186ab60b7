"""A token bucket, which limits the rate of ICMP errors (RFC 4443, section 2.4 f).

Linux allows 1,000 a second with a burst of 50 for a whole host (net.ipv4.icmp_msgs_per_sec); the
errors of the kernel do not count here: one bucket limits all errors that the router builds.
"""

from __future__ import annotations


class TokenBucket:
    """Allows `burst` at once and `rate` a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = float(burst)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more is allowed at time `now`, in seconds; if so, it is spent."""
        if now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def delay(self, now: float) -> float:
        """Seconds from `now`, which is no earlier than the last `take`, until one more is allowed;
        0 if it is."""
        tokens = self._tokens + (now - self._at) * self.rate
        return max(0.0, (1 - tokens) / self.rate)
