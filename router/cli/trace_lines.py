"""How a trace shows a packet: as text, as JSON, as the comment in a file.

Always true: scapy decodes what it is given in this process, not in the router; whatever it makes of
a damaged packet, there is printable text.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from router.flows.report import DIRECT, PROTOCOLS
from router.flows.trace.decision import FORWARD, IN, REPLY, Decision, Record
from router.flows.trace.fields import read
from router.wire import ip

Summary = Callable[[bytes], str]
INDENT: Final = "    "
NEEDS_SCAPY = (
    "needs scapy, which is not installed: pip install 'tunrouter[trace]' into the environment of "
    "tunrouter"
)


def scapy_summary() -> Summary:
    """What decodes a packet. Raises ImportError where scapy is not installed."""
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    from scapy.layers import dns, inet, inet6  # noqa: PLC0415 - takes half a second

    dns.DNS()  # so that what it has registered is loaded while files can be read

    def summary(data: bytes) -> str:
        layer = inet.IP if data[:1] and data[0] >> 4 == 4 else inet6.IPv6
        try:
            text = str(layer(data).summary())
        except Exception:
            text = f"IPv{data[0] >> 4}, not decoded"
        return "".join(each if each.isprintable() else "?" for each in text)

    return summary


def as_json(record: Record, summary: Summary) -> str:
    """One line: the members that scripts rely on, in their order, and then some more."""
    decision, fields = record.decision, read(record.data, 0, len(record.data))
    members: dict[str, Any] = {
        "time": record.time,
        "direction": record.direction,
        "length": record.length,
        "protocol": None if fields is None else protocol_name(fields.protocol),
        "source": None if fields is None else ip.format_address(fields.source),
        "source_port": None if fields is None else fields.source_port,
        "destination": None if fields is None else ip.format_address(fields.destination),
        "destination_port": None if fields is None else fields.destination_port,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "rule": decision.rule or None,
        "policy": decision.policy,
        "interface": decision.interface,
        "summary": summary(record.data),
        "path": decision.path,
        "outside": None if decision.outside is None else ip.format_address(decision.outside),
        "outside_port": decision.outside_port,
    }
    return json.dumps(members)


def as_text(record: Record, summary: Summary, columns: int | None = None) -> str:
    """One line; two where it does not fit a terminal of so many columns."""
    whole, part = divmod(record.time, 1)
    clock = time.strftime("%H:%M:%S", time.localtime(whole)) + f"{part:.6f}"[1:]
    packet = f"{clock} {record.direction:3} {summary(record.data)}"
    decision = in_words(record.decision, record.direction)
    line = f"{packet} | {decision}"
    if columns is None or len(line) <= columns:
        return line
    return f"{packet}\n{INDENT}{decision}"


def in_words(decision: Decision, direction: str) -> str:
    """The decision in one clause."""
    if decision.verdict == FORWARD:
        first = "forward"
    elif decision.verdict == REPLY:
        first = "from the router" if direction == IN else "reply by the router"
    else:
        first = f"{decision.verdict} ({decision.reason})"
    parts = [first]
    if decision.policy is not None:
        rule = f"rule {decision.rule}" if decision.rule else "default"
        parts.append(f"{rule}: {decision.policy}")
    if decision.interface is not None:
        parts.append(f"by {decision.interface}")
    if decision.path is not None:
        parts.append(decision.path)
    if decision.path == DIRECT and decision.verdict == FORWARD:
        parts.append("unchanged")
    if decision.outside is not None:
        words = "was sent to" if direction == IN else "source becomes"
        parts.append(f"{words} {ip.format_address(decision.outside)} {decision.outside_port}")
    return ", ".join(parts)


def protocol_name(number: int) -> str:
    """As in rules; the number of what rules cannot name."""
    return PROTOCOLS.get(number, str(number))
