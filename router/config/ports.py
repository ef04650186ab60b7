"""`protocol:` and `port:` of a rule.

Always true: ports are inclusive ranges, sorted and apart from each other. Only TCP and UDP have
ports, so a rule with ports is about these two: where it names no protocol it means both, and icmp
beside them never matches.

Must not know: the rest of a rule.
"""

from __future__ import annotations

import re

from router.config.document import Node, Scalar
from router.config.fields import Entry, Findings, as_items, listed
from router.config.problems import quoted
from router.config.schema import MAXIMUM_PORT, PORT, PROTOCOLS
from router.config.spelling import nearest

WITH_PORTS = frozenset({"tcp", "udp"})
SAMPLE = "port: [443, 8000-8100]"
SERVICES = {"dns": 53, "domain": 53, "ftp": 21, "http": 80, "https": 443, "imap": 143, "smtp": 25}
SERVICES |= {"ntp": 123, "rdp": 3389, "ssh": 22, "telnet": 23}

Ports = tuple[tuple[int, int], ...]


def read_conditions(
    findings: Findings, protocol: Entry | None, port: Entry | None
) -> tuple[frozenset[str], Ports]:
    """The protocols and ports of a rule; both empty where it has neither condition."""
    protocols = _protocols(findings, protocol.value) if protocol else frozenset[str]()
    if port is None:
        return protocols, ()
    ports = _ports(findings, port.value)
    if protocol is None:
        return WITH_PORTS, ports
    if "icmp" in protocols:
        _report_icmp(findings, port, protocols)
    return protocols - {"icmp"} or WITH_PORTS, ports


def _report_icmp(findings: Findings, port: Entry, protocols: frozenset[str]) -> None:
    if protocols == {"icmp"}:
        findings.error(
            "port-with-icmp",
            port.key,
            "icmp has no ports, so this rule could never match",
            "remove 'port', or write 'protocol: [tcp, udp]'",
        )
    else:
        findings.warning(
            "port-with-icmp",
            port.key,
            "icmp has no ports and never matches in this rule",
            "write a rule of its own for icmp, or take it out of 'protocol'",
        )


def _protocols(findings: Findings, node: Node) -> frozenset[str]:
    found = set()
    for item in as_items(findings, node, "'protocol'", "protocol: tcp"):
        if item.text in PROTOCOLS:
            found.add(item.text)
        else:
            _report_protocol(findings, item)
    return frozenset(found)


def _report_protocol(findings: Findings, item: Scalar) -> None:
    word = item.text.lower()
    close = nearest(word, PROTOCOLS)
    if word in ("any", "all", "ip", "*"):
        remedy = "leave 'protocol' out: the rule is then about all of them"
    elif word in ("icmpv6", "icmp6", "ipv6-icmp"):
        remedy = "write icmp, which covers ICMPv6"
    elif "," in word or " " in word:
        remedy = "write several as a list, as 'protocol: [tcp, udp]'"
    else:
        hint = f"did you mean '{close}'? " if close else ""
        remedy = f"{hint}the protocols are {listed(PROTOCOLS)}"
    findings.error("bad-protocol", item, f"there is no protocol {quoted(item.text)}", remedy)


def _ports(findings: Findings, node: Node) -> Ports:
    ranges = []
    for item in as_items(findings, node, "'port'", SAMPLE):
        fault = _port_fault(item.text)
        if fault is not None:
            message, remedy = fault
            findings.error("bad-port", item, message, remedy)
            continue
        first, _, last = item.text.partition("-")
        ranges.append((int(first), int(last or first)))
    return joined(ranges)


def joined(ranges: list[tuple[int, int]]) -> Ports:
    """Inclusive ranges, sorted, with those that touch or overlap made one."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return tuple(result)


def _port_fault(text: str) -> tuple[str, str] | None:
    """What is wrong with a port or range, and the remedy."""
    if not PORT.fullmatch(text):
        return _malformed(text)
    first, dash, last = text.partition("-")
    for number in (first, last) if dash else (first,):
        if not 1 <= int(number) <= MAXIMUM_PORT:
            what = f"the port {quoted(number)}" + (f" in {quoted(text)}" if dash else "")
            return f"{what} is out of bounds", f"ports go from 1 to {MAXIMUM_PORT}"
    if dash and int(first) > int(last):
        return f"the range {quoted(text)} is upside down", f"write {int(last)}-{int(first)}"
    return None


def _malformed(text: str) -> tuple[str, str]:
    fault = f"{quoted(text)} is neither a port nor a range"
    tidy = re.sub(r"\s*(?:[-:–—]|\.\.+|to)\s*", "-", text.strip())
    if PORT.fullmatch(tidy) and _port_fault(tidy) is None:
        return fault, f"write {tidy}"
    if re.fullmatch(r"[\d\s,;-]+", text) and re.search(r"\d[\s,;]+\d", text):
        parts = re.split(r"[\s,;]+", text.strip())
        return fault, f"write a list: [{', '.join(parts[:6])}]"
    service = SERVICES.get(text.lower())
    if service is not None:
        return fault, f"write the number, {service}"
    if re.fullmatch(r"-?[0-9]+(-[0-9]+)?", text):
        return fault, f"ports go from 1 to {MAXIMUM_PORT}"
    return fault, f"write a number or a range, as '{SAMPLE}'"
