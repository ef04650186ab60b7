"""The outbounds of sing-box: what each tag means.

An outbound without a tag has its position in the list as one.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.config.document import Node
from router.config.foreign.model import (
    Choice,
    Definition,
    Fixed,
    Group,
    InterfaceWay,
    ProxyWay,
    Unsupported,
)
from router.config.foreign.nodes import fields, items, number, set_fields, word, words


def outbounds(top: dict[str, Node], interface: str | None) -> Iterator[tuple[str, Definition]]:
    """By tag, in their order. interface: what those are bound to that name none."""
    for position, node in enumerate(items(top.get("outbounds"))):
        found = set_fields(node)
        name = word(found.get("tag")) or str(position)
        yield name, _outbound(name, node.line, found, interface)
    for node in items(top.get("endpoints")):
        found = fields(node)
        tag = word(found.get("tag"))
        if tag is not None:
            yield tag, _unknown(tag, node.line, word(found.get("type")) or "?")


def _outbound(name: str, line: int, found: dict[str, Node], default: str | None) -> Definition:
    kind = word(found.get("type")) or "?"
    if kind == "block":
        return Fixed.REJECT
    if kind in ("selector", "urltest"):
        return _group(name, kind, line, found)
    interface = word(found.get("bind_interface")) or default
    if kind == "direct":
        return _direct(name, line, found, interface)
    if kind == "socks":
        return _socks(name, line, found, interface)
    return _unknown(name, line, kind)


def _unknown(name: str, line: int, kind: str) -> Unsupported:
    return Unsupported(name, f"there is no way out of type {kind[:40]} here", line)


def _direct(name: str, line: int, found: dict[str, Node], interface: str | None) -> Definition:
    if {"override_address", "override_port"} & found.keys():
        return Unsupported(name, "it changes destinations", line)
    return InterfaceWay(name, interface, line) if interface else Fixed.DIRECT


def _socks(name: str, line: int, found: dict[str, Node], interface: str | None) -> Definition:
    version = word(found.get("version")) or "5"
    if version != "5":
        return _unknown(name, line, f"socks {version}")
    if "udp_over_tcp" in found:
        return Unsupported(name, "UDP over TCP is not possible here", line)
    networks = [each.text for each in words(found.get("network"))] or ["tcp", "udp"]
    if "tcp" not in networks:
        return Unsupported(name, "a proxy for UDP alone is not possible here", line)
    return ProxyWay(
        name,
        word(found.get("server")) or "",
        number(found.get("server_port")),
        line,
        word(found.get("username")),
        "udp" in networks,
        word(found.get("detour")),
        interface,
    )


def _group(name: str, kind: str, line: int, found: dict[str, Node]) -> Group:
    members = [each.text for each in words(found.get("outbounds"))]
    chosen = word(found.get("default"))
    if chosen in members:
        members.remove(chosen)
        members.insert(0, chosen)
    choice = Choice.FIRST if kind == "selector" else Choice.MEASURED
    return Group(name, kind, tuple(members), choice, line)
