"""Checks of what single commands need, and a run does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from router.policy.machine.facts import LINUX, Facts
from router.policy.machine.result import Result, Status


class Extra(NamedTuple):
    """modules: Python packages. remedy: the command that installs them."""

    modules: Sequence[str]
    needed_by: str
    remedy: str


EXTRAS: Final[Mapping[str, Extra]] = {
    "trace": Extra(
        ("scapy",), "`trace` and `explain --pcap`", "python3 -m pip install 'tunrouter[trace]'"
    ),
    "top": Extra(("textual",), "`top`", "python3 -m pip install textual"),
    "web": Extra(
        ("prometheus_client", "starlette", "uvicorn"),
        "`web` and metrics",
        "python3 -m pip install 'tunrouter[web]'",
    ),
}
PROGRAMS: Final[Mapping[str, str]] = {
    "nft": "shows the rules of the packet filter that a remedy names",
    "systemctl": "runs it as a service",
    "tshark": "reads what `trace --pcap` writes",
    "wireshark": "shows what `trace --pcap` writes",
}


LINUX_ONLY: Final = frozenset({"nft", "systemctl"})


def modules() -> frozenset[str]:
    """All that are looked for."""
    return frozenset(name for extra in EXTRAS.values() for name in extra.modules)


def extras(facts: Facts) -> Iterator[Result]:
    """A result for each of EXTRAS."""
    for name, extra in EXTRAS.items():
        absent = [each for each in extra.modules if each not in facts.machine.modules]
        if absent:
            yield Result(
                f"extra-{name}",
                Status.WARNING,
                f"{', '.join(absent)}: not installed, and needed by {extra.needed_by} alone",
                extra.remedy,
            )
        else:
            yield Result(f"extra-{name}", Status.OK, f"{', '.join(extra.modules)}: installed")


def programs(facts: Facts) -> Result:
    """None of them is needed."""
    useful = [name for name in PROGRAMS if facts.machine.system == LINUX or name not in LINUX_ONLY]
    there = [name for name in useful if name in facts.machine.programs]
    absent = [name for name in useful if name not in facts.machine.programs]
    found = f"found: {', '.join(there) or 'none'}"
    if absent:
        found += f"; not found: {', '.join(absent)}"
    uses = "; ".join(f"{name} {PROGRAMS[name]}" for name in absent)
    return Result("programs", Status.OK, found, f"optional: {uses}" if uses else None)
