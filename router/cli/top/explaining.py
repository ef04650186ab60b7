"""What is known of one flow, and the command that tells which rule decides about its destination.

Must not know: the terminal; processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from router.cli.flows_text import WITH_PORTS, span
from router.cli.status_text import known_quantity
from router.cli.top.cells import end
from router.cli.top.flow_lines import MOST_END
from router.cli.top.model import FlowRow, View
from router.cli.top.policy_lines import milliseconds, rate

Answer = Mapping[str, Any]


def facts(row: FlowRow, view: View) -> Iterator[tuple[str, str]]:
    """Pairs of a name and a value."""
    flow = row.flow
    yield "flow", f"{flow['protocol']} {_end(flow, 'source')} → {_end(flow, 'destination')}"
    yield "rule", _rule(flow, view.status)
    yield "policy", _policy(flow, view.status)
    yield "path", _path(flow, view.status)
    if flow["outside"] is not None:
        yield "outside", _end(flow, "outside")
    yield "state", f"{flow['state']}, age {span(flow['age_s'])}, idle {span(flow['idle_s'])}"
    for name, way, now in (("out", "out", row.rates.out), ("in", "in", row.rates.in_)):
        packets, size = flow[f"packets_{way}"], flow[f"bytes_{way}"]
        unit = "packet" if packets == 1 else "packets"
        counted = f"{known_quantity(packets)} {unit}, {known_quantity(size)} bytes"
        yield name, f"{counted}, now {rate(now)} B/s"
    if "rtt_ms" in flow:
        yield "rtt", f"{milliseconds(flow['rtt_ms'])} ms"
    if "segments_out" in flow:
        yield "resent", f"{flow['segments_resent']} of {flow['segments_out']} segments"


def command(flow: Answer, rules_file: str) -> list[str]:
    """The arguments of `tunrouter` that explain its destination, by the rules as they are now."""
    arguments = ["explain", str(flow["destination"]), "--config", rules_file]
    arguments += ["--protocol", flow["protocol"]]
    if flow["protocol"] in WITH_PORTS:
        arguments += ["--port", str(flow["destination_port"])]
    return arguments


def _rule(flow: Answer, status: Answer) -> str:
    index = flow["rule"]
    if index is None:
        return "none: the default"
    rule = next((rule for rule in status["rules"] if rule["index"] == index), None)
    return str(index) if rule is None else f"{index}, line {rule['line']}: {rule['text']}"


def _policy(flow: Answer, status: Answer) -> str:
    policy = status["policies"].get(flow["policy"], {})
    by = f", by {flow['interface']}" if flow["interface"] else ""
    return f"{flow['policy']}: {policy.get('state', 'removed')}{by}"


def _path(flow: Answer, status: Answer) -> str:
    """What `status` says of a policy's path is about programs of this machine alone, as `explain`
    is: packets of other hosts are always relayed."""
    policy = status["policies"].get(flow["policy"], {})
    path, why = str(flow["path"]), policy.get("why_relayed")
    if path == "relayed" and why is not None:
        return f"{path}: {why}"
    if path == "relayed" and policy.get("path") == "direct":
        return f"{path}; programs of this machine: direct"
    return path


def _end(flow: Answer, which: str) -> str:
    is_port = flow["protocol"] in WITH_PORTS
    return end(flow[which], flow[f"{which}_port"], MOST_END + 10, is_port=is_port)
