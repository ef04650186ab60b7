"""What commands import before they do anything."""

from __future__ import annotations

import subprocess
import sys

READ_NO_RULES = ("cleanup", "flows", "reload", "signals", "status", "trace")


def test_commands_that_read_no_rules_start_without_their_parser() -> None:
    commands = ", ".join(f"router.cli.{each}" for each in READ_NO_RULES)
    program = f"import sys, {commands}; print('yaml' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert shown.stdout.strip() == b"False"
