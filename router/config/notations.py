"""Networks as other programs write them, in our notation: for the help of errors.

    10.0.0.0/255.0.0.0   10.0.0.0/0.255.255.255   fd00::/ffff::     a netmask, or its inverse
    10.0.*.*   10.0.1-2.*   192.0.2.10-99                           a glob

Always true: what these mean is for netaddr to say, and what is said about it is ours. The import
takes 0.07 s, so this module is imported where there is an error to explain and nowhere else.

Must not know: how errors are worded.
"""

from __future__ import annotations

import netaddr

from router.config.cidr import network_text


def from_mask(address: str, mask: str) -> str | None:
    """The network of an address and a netmask or its inverse; None where they make none."""
    try:
        return _text(netaddr.IPNetwork(f"{address}/{mask}"))
    except (netaddr.AddrFormatError, ValueError):
        return None


def from_glob(text: str) -> str | None:
    """The network, or else the range `a-b`, of an IPv4 glob; None where it is none.

    Of the four parts each is a number, a range of numbers or an asterisk, and behind a range only
    asterisks may follow; parts that are missing at the end count as asterisks if one stands there.
    """
    parts = text.split(".")
    if parts[1:] and parts[-1] == "*":
        parts += ["*"] * (4 - len(parts))
    glob = ".".join(parts)
    try:
        if not netaddr.valid_glob(glob):
            return None
        first, last = netaddr.glob_to_iptuple(glob)
    except (netaddr.AddrFormatError, ValueError):
        return None
    networks = netaddr.iprange_to_cidrs(first, last)
    return _text(networks[0]) if len(networks) == 1 else f"{first}-{last}"


def _text(network: netaddr.IPNetwork) -> str:
    return network_text(network.version, network.first, network.prefixlen)
