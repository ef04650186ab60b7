"""The keys of a policy of type socks5.

Always true: a password gets into no problem: it stands in no rules file, and problems show nothing
else. What may differ between the user who checks a file and the router that runs by it (a variable,
the right to read a file) is a warning.

Must not know: the other policies, whether a name can be resolved or a proxy be reached.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from router.config.document import Mapping, Node, Scalar
from router.config.fields import (
    Entry,
    Findings,
    as_text,
    listed,
    missing_key,
)
from router.config.host_names import is_host_name
from router.config.model import Place, Proxy
from router.config.problems import quoted
from router.config.schema import (
    BUILT_IN_POLICIES,
    DEFAULT_ICMP,
    MAXIMUM_PORT,
    UDP_MODES,
    VARIABLE,
)
from router.config.secret_file import read_secret
from router.config.spelling import nearest
from router.wire.socks5 import MOST_CREDENTIAL_BYTES, Credentials

Refer = Callable[[Findings, Node, str], str | None]
"""The policy that a key names; see PolicyTable.refer."""
Keys = dict[str, Entry]

SERVER = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})", re.ASCII)
SAMPLE = 'server: "127.0.0.1:1080"'


def refuse_password(findings: Findings, section: Mapping, name: str) -> bool:
    """Whether the password itself is among the keys of a policy of any type, after a report: then
    nothing else is to be read of it, so that nothing else shows its line."""
    for key, _ in section.entries():
        if isinstance(key, Scalar) and key.text.strip().lower().endswith("password"):
            findings.secret_error(
                "password-in-rules",
                key,
                f"the policy {quoted(name)} has its password in the rules file",
                "write password_file with a file that only its owner can read, or password_env "
                "with the name of a variable",
            )
            findings.pass_over(section)
            return True
    return False


def read_proxy(
    findings: Findings, refer: Refer, keys: Keys, owner: Scalar, name: str
) -> Proxy | None:
    """What the keys of a policy say; None where its server is missing or no server."""
    credentials = _credentials(findings, keys, name)
    via, via_place = _via(findings, refer, keys.get("via"))
    udp = _udp(findings, keys.get("udp"))
    icmp, icmp_place = _icmp(findings, refer, keys.get("icmp"))
    entry = keys.get("server")
    if entry is None:
        missing_key(findings, owner, "server", f"the policy {quoted(name)}", SAMPLE)
        return None
    server = _server(findings, entry)
    if server is None:
        return None
    place = findings.place(entry.value)
    return Proxy(*server, credentials, via, udp, icmp, place, via_place, icmp_place)


def _server(findings: Findings, entry: Entry) -> tuple[str, int] | None:
    """Host and port."""
    text = as_text(findings, entry.value, "'server'", SAMPLE)
    if text is None:
        return None
    match = SERVER.fullmatch(text)
    if match is None:
        bare = _address(text.strip("[]"))
        hint = f"[{bare}]:1080" if isinstance(bare, IPv6Address) else '"127.0.0.1:1080"'
        _bad_server(findings, entry, text, "is no host with a port", f"write it as {hint}")
        return None
    port = int(match["port"])
    if not 1 <= port <= MAXIMUM_PORT:
        remedy = f"ports are 1 to {MAXIMUM_PORT}; SOCKS5 is usually at 1080"
        _bad_server(findings, entry, text, f"has the port {port}", remedy)
        return None
    host = match["host"] if match["v6"] is None else match["v6"]
    fault = fault_of_host(host, in_brackets=match["v6"] is not None)
    if fault is not None:
        remedy = "name the proxy by its address or host name, IPv6 in brackets"
        _bad_server(findings, entry, text, fault, remedy)
        return None
    return host, port


def _bad_server(findings: Findings, entry: Entry, text: str, fault: str, remedy: str) -> None:
    findings.error("bad-server", entry.value, f"the server {quoted(text)} {fault}", remedy)


def fault_of_host(host: str, *, in_brackets: bool | None = None) -> str | None:
    """Why a proxy cannot be at a host, or None. in_brackets: whether it stands in them; None: an
    IPv6 address will."""
    address = _address(host)
    if in_brackets is None:
        in_brackets = isinstance(address, IPv6Address)
    if in_brackets and not isinstance(address, IPv6Address):
        return "has no IPv6 address in its brackets"
    if address is None:
        return None if is_host_name(host) else "has neither an address nor a host name"
    if address.is_unspecified or address.is_multicast:
        return "has an address that no host has"
    return None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def _credentials(findings: Findings, keys: Keys, name: str) -> Credentials | None:
    username, given = keys.get("username"), keys.get("password_env") or keys.get("password_file")
    if "password_env" in keys and "password_file" in keys:
        findings.error(
            "two-passwords",
            keys["password_file"].key,
            f"the policy {quoted(name)} has both password_env and password_file",
            "leave one of them out",
        )
        return None
    if username is None and given is None:
        return None
    if username is None or given is None:
        there = username or given
        assert there is not None
        lacking = "username" if username is None else "password_file"
        sample = "username: me" if username is None else "password_file: proxy-password"
        missing_key(findings, there.key, lacking, f"the policy {quoted(name)}", sample)
        return None
    read = _from_variable if "password_env" in keys else _from_file
    user = as_text(findings, username.value, "'username'", "username: me")
    password = read(findings, given, name)
    if user is None or password is None:
        return None
    fits = _fits(findings, username, "user name", user.encode())
    fits &= _fits(findings, given, "password", password)
    return Credentials(user.encode(), password) if fits else None


def _fits(findings: Findings, entry: Entry, what: str, value: bytes) -> bool:
    if len(value) <= MOST_CREDENTIAL_BYTES:
        return True
    message = f"the {what} has {len(value)} bytes; SOCKS5 has room for {MOST_CREDENTIAL_BYTES}"
    findings.error("bad-credentials", entry.value, message, "have the proxy take a shorter one")
    return False


def _from_variable(findings: Findings, entry: Entry, name: str) -> bytes | None:
    variable = as_text(findings, entry.value, "'password_env'", "password_env: PROXY_PASSWORD")
    if variable is None:
        return None
    if not VARIABLE.fullmatch(variable):
        # It may be the password itself: neither it nor its line is shown.
        findings.secret_error(
            "bad-variable",
            entry.value,
            f"password_env of the policy {quoted(name)} is not the name of a variable",
            "write the name of the environment variable that holds the password, not the password",
        )
        return None
    password = os.environb.get(variable.encode())
    if password is None:
        findings.warning(
            "password-unknown",
            entry.value,
            f"there is no environment variable {quoted(variable)} here",
            "the router needs it when it starts",
        )
    return password or b""


def _from_file(findings: Findings, entry: Entry, _name: str) -> bytes | None:
    secret = read_secret(findings, entry, "password", 2 * MOST_CREDENTIAL_BYTES)
    return None if secret is None else secret.value


def _via(findings: Findings, refer: Refer, entry: Entry | None) -> tuple[str | None, Place | None]:
    if entry is None:
        return None, None
    node = entry.value
    if isinstance(node, Scalar) and node.text in BUILT_IN_POLICIES:
        findings.error(
            "bad-via",
            node,
            f"'via' can't be {quoted(node.text)}: it carries no connection to a proxy",
            "name a policy of type direct, vpn or socks5, or leave 'via' out for the system's own "
            "routes",
        )
        return None, None
    return refer(findings, node, "via"), findings.place(node)


def _udp(findings: Findings, entry: Entry | None) -> bool:
    """Whether UDP is offered to the proxy."""
    if entry is None:
        return True
    text = as_text(findings, entry.value, "'udp'", "udp: auto")
    if text is not None and text not in UDP_MODES:
        close = nearest(text, UDP_MODES)
        hint = f"did you mean '{close}'? " if close else ""
        remedy = f"{hint}write one of {listed(UDP_MODES)}"
        findings.error("bad-udp", entry.value, f"'udp' can't be {quoted(text)}", remedy)
    return text != "reject"


def _icmp(findings: Findings, refer: Refer, entry: Entry | None) -> tuple[str, Place | None]:
    if entry is None:
        return DEFAULT_ICMP, None
    name = refer(findings, entry.value, "icmp")
    return name or DEFAULT_ICMP, findings.place(entry.value)
