"""The host's packet filter and IPsec policies, which only root can read."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from router.platform.base.errors import PlatformError
from router.platform.linux.conntrack import tracked_request
from router.platform.linux.host_rules.iptables import has_tables
from router.platform.linux.host_rules.read import read_host_rules
from router.platform.linux.host_rules.watch import report_sockets
from router.platform.privileged.channel import Message
from router.platform.reason import reason
from router.policy.host_rules.model import DirectOutput


def host_rules(outputs: Sequence[tuple[str, int, Sequence[str], str]]) -> Message:
    """See PacketFilter.host_rules."""
    wanted = [
        DirectOutput(interface, index, [ip_address(source) for source in sources], tun)
        for interface, index, sources, tun in outputs
    ]
    rules = read_host_rules(wanted)
    checks = [[version, clause] for version, clause in rules.path_checks.items()]
    return Message(
        [
            *(rules.obstacles, rules.translates_requests, checks),
            *(rules.owner_checks, rules.refusals, rules.mark_checks),
        ]
    )


def has_unreported_rules() -> Message:
    """See PacketFilter.request_has_unreported."""
    return Message(has_tables())


def request_of(version: int, protocol: int, source: str, destination: str, start: str) -> Message:
    """See PacketFilter.request_of: whether the request was translated, or null where there is none;
    addresses and the start of the upper layer in hexadecimal."""
    found = tracked_request(
        version, protocol, bytes.fromhex(source), bytes.fromhex(destination), bytes.fromhex(start)
    )
    return Message(None if found is None else found.is_translated)


def watch_host_rules() -> Message:
    """See PacketFilter.watch_host_rules: the number of sockets, and the sockets."""
    try:
        sockets = report_sockets()
    except OSError as error:
        raise PlatformError(
            f"changes of the host's packet filter cannot be followed: {reason(error)}"
        ) from error
    return Message(len(sockets), [sock.detach() for sock in sockets])
