"""What sing-box decides about connections, by its own log: it gets them as a SOCKS5 proxy.

Always true: the rules and rule sets of a configuration are as they stand there, but for those about
a state of the program (`clash_mode`) and lists that would have to be fetched. Each outbound is a
proxy that refuses, so nothing leaves the namespace.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from struct import pack, unpack
from typing import Any, Final

from tests.e2e.netns import Namespace
from tests.e2e.proxies import find_sing_box, started
from tests.e2e.sockets import within
from tests.e2e.wait import wait_until
from tests.unit.config.foreign.oracle_sing_box import read
from tests.unit.config.foreign.sampling import Connection

PORT: Final = 7001
REFUSING: Final = {"type": "socks", "server": "127.0.0.1", "server_port": 9}
GROUPS: Final = ("selector", "urltest")
NO_NAME: Final = [{"domain": "never.invalid"}]
NEGOTIATION: Final = b"\x05\x01\x00"
CONNECT, ASSOCIATE = b"\x05\x01\x00", b"\x05\x03\x00\x01" + bytes(6)
TIMEOUT_S: Final = 10.0
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
OF_A_CONNECTION: Final = re.compile(r"\[(?P<number>\d+) [\d.]+m?s\] (?P<text>.*)")
ARRIVED: Final = re.compile(
    r"inbound/mixed\[in\]: inbound (?P<packet>packet )?connection to (?P<to>\S+)"
)
REJECTED: Final = re.compile(r"router: match\[\d+\].* => reject(?:\((?P<method>\w+)\))?$")
ROUTED: Final = re.compile(r"router: match\[\d+\].* => route\((?P<tag>.*)\)$")
SENT: Final = re.compile(r"outbound/\w+\[.*\]: outbound (?:packet )?connection to")

Decision = tuple[str, str]
"""`reject` and its method, or `route` and the outbound, which is empty where no rule decides."""


class SingBox:
    """sing-box on a configuration, in a namespace."""

    def __init__(self, namespace: Namespace, directory: Path, configuration: Path) -> None:
        self._namespace = namespace
        self._file = directory / "sing-box.json"
        self._file.write_text(json.dumps(_settings(configuration)), encoding="utf-8")

    def decide(self, connections: Iterable[Connection]) -> dict[Connection, Decision]:
        """What it does with each."""
        asked = {_key(each): each for each in connections}
        command = (find_sing_box(), "run", "-c", str(self._file))
        with started(self._namespace, PORT, *command) as process:
            within(self._namespace, lambda: _ask_all(asked.values()))
            wait_until(
                lambda: asked.keys() <= _decisions(process.stderr).keys(),
                "a line for each connection",
                detail=process.report,
            )
            found = _decisions(process.stderr)
        return {connection: found[key] for key, connection in asked.items()}


def _settings(path: Path) -> dict[str, Any]:
    configuration = read(path)
    outbounds = [*configuration["outbounds"], *configuration.get("endpoints", [])]
    route = configuration["route"]
    return {
        "log": {"level": "debug", "timestamp": False},
        "inbounds": [{"type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": PORT}],
        "outbounds": [
            each if each["type"] in GROUPS else {**REFUSING, "tag": each["tag"]}
            for each in outbounds
        ],
        "route": {
            "rules": [rule for rule in route["rules"] if "clash_mode" not in rule],
            "rule_set": [_set(each, path.parent) for each in route.get("rule_set", [])],
            "final": route.get("final", ""),
        },
    }


def _set(found: dict[str, Any], directory: Path) -> dict[str, Any]:
    if found["type"] == "remote":
        return {"type": "inline", "tag": found["tag"], "rules": NO_NAME}
    if found["type"] == "local":
        return {**found, "path": str(directory / found["path"])}
    return found


def _ask_all(connections: Iterable[Connection]) -> None:
    for each in connections:
        _ask(each)


def _ask(connection: Connection) -> None:
    destination = b"\x01" if connection.address.version == 4 else b"\x04"
    destination += connection.address.packed + pack(">H", connection.port)
    with socket.create_connection(("127.0.0.1", PORT), TIMEOUT_S) as control:
        control.sendall(NEGOTIATION)
        control.recv(2)
        if connection.protocol == "tcp":
            control.sendall(CONNECT + destination)
            control.recv(64)
            return
        control.sendall(ASSOCIATE)
        (port,) = unpack(">H", control.recv(64)[8:10])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(bytes(3) + destination + b"?", ("127.0.0.1", port))
            control.settimeout(0.02)  # the association ends with its connection
            try:
                control.recv(1)
            except TimeoutError:
                return


def _key(connection: Connection) -> tuple[str, str]:
    """Protocol and destination as the log has them."""
    host = str(connection.address)
    host = f"[{host}]" if connection.address.version == 6 else host
    return connection.protocol, f"{host}:{connection.port}"


def _decisions(log: str) -> dict[tuple[str, str], Decision]:
    """Those that have been carried out."""
    lines: dict[str, list[str]] = {}
    for found in OF_A_CONNECTION.finditer(COLOUR.sub("", log)):
        lines.setdefault(found["number"], []).append(found["text"])
    decisions = {}
    for each in lines.values():
        arrived = _first(ARRIVED, each)
        decision = _decision(each)
        if arrived is not None and decision is not None:
            protocol = "udp" if arrived["packet"] else "tcp"
            decisions[protocol, arrived["to"]] = decision
    return decisions


def _decision(lines: list[str]) -> Decision | None:
    rejected, routed = _first(REJECTED, lines), _first(ROUTED, lines)
    if rejected is not None:
        return "reject", rejected["method"] or "default"
    if _first(SENT, lines) is None:
        return None
    return "route", routed["tag"] if routed is not None else ""


def _first(pattern: re.Pattern[str], lines: list[str]) -> re.Match[str] | None:
    return next(filter(None, map(pattern.match, lines)), None)
