"""The web process with the code of macOS for its rights, for the control sockets of a directory:

python -m tests.e2e.macos_web DIRECTORY PORT
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from router.control import client
from router.control.web import launch
from router.control.web.settings import Settings
from router.platform.darwin import confined
from router.platform.privileged.runtime import RuntimeDirectory


def main(directory: Path, port: int) -> int:
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    client.control_sockets = RuntimeDirectory(lambda: (directory,), "df").sockets  # type: ignore[attr-defined]
    launch.confine_connector = confined.confine_connector  # type: ignore[attr-defined]
    launch.confine_server = confined.confine_server  # type: ignore[attr-defined]
    return launch.serve(Settings("utun11", "127.0.0.1", port))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
