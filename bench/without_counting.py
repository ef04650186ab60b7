"""tunrouter on a system that does not count answers: the same command line.

python -m bench.without_counting run -c rules.yaml
"""

from __future__ import annotations

import sys

import router.platform
from router.cli import main
from router.platform.base.errors import PlatformError
from router.platform.linux.client.answers import LinuxAnswerCounters
from router.platform.linux.system import LinuxSystem


class WithoutCounting(LinuxSystem):
    """Everything but the counters of answers."""

    def answer_counters(self) -> LinuxAnswerCounters:
        raise PlatformError("switched off, to measure what they cost")


if __name__ == "__main__":
    router.platform.this_system = WithoutCounting
    sys.exit(main())
