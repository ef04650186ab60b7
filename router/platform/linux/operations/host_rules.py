"""The host's packet filter and IPsec policies, which only root can read."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from router.platform.base.errors import PlatformError
from router.platform.linux.host_rules.read import read_host_rules
from router.platform.linux.host_rules.watch import report_sockets
from router.platform.privileged.channel import Message
from router.platform.reason import reason
from router.policy.host_rules.model import DirectOutput


def host_rules(outputs: Sequence[tuple[str, int, Sequence[str]]]) -> Message:
    """See PacketFilter.host_rules: the obstacles by interface."""
    wanted = [
        DirectOutput(interface, index, [ip_address(source) for source in sources])
        for interface, index, sources in outputs
    ]
    return Message(read_host_rules(wanted).obstacles)


def watch_host_rules() -> Message:
    """See PacketFilter.watch_host_rules: the number of sockets, and the sockets."""
    try:
        sockets = report_sockets()
    except OSError as error:
        raise PlatformError(
            f"changes of the host's packet filter cannot be followed: {reason(error)}"
        ) from error
    return Message(len(sockets), [sock.detach() for sock in sockets])
