"""The DNS servers of the system: /etc/resolv.conf (resolv.conf(5)).

Must not know: rules.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Final

UPSTREAM: Final = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved writes the servers behind its own stub (systemd-resolved(8))."""

STUBS: Final = frozenset({"127.0.0.53", "127.0.0.54"})


def read_dns_servers(
    resolv_conf: Path, unread: list[str], upstream: Path = UPSTREAM
) -> tuple[tuple[int, int], ...]:
    """(version, address) of each; what could not be read is added to `unread`."""
    servers = _servers(resolv_conf, unread)
    if servers and STUBS.issuperset(servers) and upstream.exists():
        servers = _servers(upstream, unread)
    found = []
    for server in servers:
        try:
            address = ip_address(server.partition("%")[0])
        except ValueError:
            continue
        found.append((address.version, int(address)))
    return tuple(dict.fromkeys(found))


def _servers(path: Path, unread: list[str]) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        unread.append(f"the DNS servers in {path} ({error.strerror})")
        return []
    words = [line.split() for line in lines]
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
