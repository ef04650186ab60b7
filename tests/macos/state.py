"""The state of a Mac's network that a run must leave as it was."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

COMMANDS: Final = (
    ("netstat", "-rn"),
    ("ifconfig", "-a"),
    ("scutil", "--dns"),
    ("sysctl", "net.inet.ip.forwarding", "net.inet6.ip6.forwarding"),
)
RUNTIME: Final = Path("/var/run/tunrouter")
PASSING: Final = frozenset("WL")
"""Flags of a route that a lookup has made, and of a neighbour (netstat(1): RTF_WASCLONED,
RTF_LLINFO)."""
VOLATILE: Final = re.compile(r"(?:pltime|vltime|expire) \d+|reach +: .*|lastchange.*")


def state() -> str:
    """As text, without what changes by itself."""
    found = []
    for command in COMMANDS:
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found.append(f"$ {' '.join(command)}\n{stable(output, routes=command[0] == 'netstat')}")
    left = sorted(map(str, RUNTIME.iterdir())) if RUNTIME.exists() else []
    return "\n".join([*found, *left])


def stable(output: str, *, routes: bool) -> str:
    """Of routes: destination, gateway, flags and interface, neither neighbours nor clones nor the
    time that they have left."""
    lines = output.splitlines()
    if routes:
        fields = (line.split() for line in lines)
        return "\n".join(
            " ".join(each[:4]) for each in fields if len(each) >= 4 and not PASSING & set(each[2])
        )
    return "\n".join(VOLATILE.sub("", line).rstrip() for line in lines)
