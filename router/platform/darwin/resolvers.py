"""The DNS servers of the system, as `scutil --dns` prints them: /etc/resolv.conf has those of the
primary network alone, and the library that tells all is not open (configd, dnsinfo).

    resolver #1
      search domain[0] : example.net
      nameserver[0] : 192.0.2.53
      if_index : 4 (en0)
      flags    : Scoped, Request A records

Always true: a line of another form is passed over.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Final

from router.platform.reason import reason
from router.policy.machine.facts import Resolver

PROGRAM: Final = ("/usr/sbin/scutil", "--dns")
TIMEOUT: Final = 5.0
"""Seconds; it asks configd, which answers in milliseconds."""
BEGINNING: Final = re.compile(r"resolver #\d+")
FIELD: Final = re.compile(r"\s+(?P<name>[a-z_ ]+?)(?:\[\d+\])?\s*:\s*(?P<value>.*)")
INTERFACE: Final = re.compile(r"\d+ \((?P<name>[^)]+)\)")


def read_resolvers(unread: list[str]) -> list[Resolver]:
    """What could not be read is added to `unread`."""
    try:
        done = subprocess.run(PROGRAM, check=True, capture_output=True, timeout=TIMEOUT)
    except (OSError, subprocess.SubprocessError) as error:
        why = reason(error) if isinstance(error, OSError) else "scutil --dns fails"
        unread.append(f"the DNS servers of this system ({why})")
        return []
    return parse_resolvers(done.stdout.decode("utf-8", "replace"))


def parse_resolvers(text: str) -> list[Resolver]:
    """Those with servers, in their order: the two sections of the output repeat some of them."""
    found = dict.fromkeys(_resolver(each) for each in _blocks(text.splitlines()))
    return [each for each in found if each.servers]


def servers_of(resolvers: Iterable[Resolver]) -> tuple[tuple[int, int], ...]:
    """Those that a program asks that is bound to no interface, each once."""
    return tuple(
        dict.fromkeys(server for each in resolvers if not each.is_scoped for server in each.servers)
    )


def _blocks(lines: Iterable[str]) -> Iterator[list[tuple[str, str]]]:
    """The fields of each resolver."""
    block: list[tuple[str, str]] | None = None
    for line in lines:
        if BEGINNING.fullmatch(line.strip()):
            if block is not None:
                yield block
            block = []
        elif block is not None and (field := FIELD.fullmatch(line)):
            block.append((field["name"], field["value"].strip()))
    if block is not None:
        yield block


def _resolver(fields: list[tuple[str, str]]) -> Resolver:
    written = (_server(value) for name, value in fields if name == "nameserver")
    servers = tuple(each for each in written if each is not None)
    others = dict(fields)
    interface = INTERFACE.fullmatch(others.get("if_index", ""))
    flags = others.get("flags", "").split(", ")
    name = "" if interface is None else interface["name"]
    return Resolver(servers, others.get("domain", ""), name, "Scoped" in flags)


def _server(text: str) -> tuple[int, int] | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.version, int(address)
