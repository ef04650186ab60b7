"""tunrouter on a system without a virtio-net header and without splice(2): the same command line.

python -m tests.e2e.without_offloads run -c rules.yaml
"""

from __future__ import annotations

import sys
from functools import partial

import router.platform
from router.cli import main
from router.platform.linux.system import LinuxSystem

if __name__ == "__main__":
    router.platform.this_system = partial(LinuxSystem, offloads=False)
    sys.exit(main())
