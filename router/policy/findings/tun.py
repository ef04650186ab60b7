"""The TUN's own addresses and name: conflicts with the rules and with the system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from router.config.model import Place
from router.config.problems import Problem, Severity
from router.policy.findings.situation import Situation, captures, covering
from router.policy.findings.wording import prefixes, rule
from router.policy.network import Interface
from router.policy.prefixes import format_prefix, unpack
from router.policy.routes.capture import captured_ranges

Address = IPv4Interface | IPv6Interface

CANDIDATES = (
    *("192.168.7.1/30", "172.31.255.1/30", "10.255.255.1/30", "192.168.255.1/30"),
    *("fd77::1/126", "fd77:7::1/126", "fd07:7::1/126"),
)


def find(situation: Situation) -> Iterator[Problem]:
    """Addresses that are captured or overlap, a family without one, a name that is taken."""
    yield from _name_impossible(situation)
    yield from _name_taken(situation)
    for number, address in enumerate(situation.config.tun.addresses):
        places = situation.config.tun.address_places
        place = places[number] if number < len(places) else None
        yield from _captured(situation, address, place)
        yield from _overlapping(situation, address, place)
    yield from _lacking_family(situation)


def _name_impossible(situation: Situation) -> Iterator[Problem]:
    tun, form = situation.config.tun, situation.network.tun_name
    if form and tun.name and not re.fullmatch(rf"{form}\d{{1,4}}", tun.name):
        yield Problem(
            "tun-name-impossible",
            Severity.ERROR,
            tun.place,
            f"no TUN can be called '{tun.name}' on this system: their names are {form} and a "
            "number",
            f"write 'name: {form}11', or leave the name out",
        )


def _name_taken(situation: Situation) -> Iterator[Problem]:
    tun = situation.config.tun
    if tun.name in situation.network.interfaces and tun.name not in situation.network.own_tuns:
        yield Problem(
            "tun-name-taken",
            Severity.ERROR,
            tun.place,
            f"there is already an interface '{tun.name}', which is not a TUN of tunrouter",
            "choose another name for the TUN, or leave the name out",
        )


def _captured(situation: Situation, address: Address, place: Place | None) -> Iterator[Problem]:
    """By a rule for a prefix; a rule for all addresses always covers the TUN's."""
    config, version = situation.config, address.version
    for index in situation.rule_set.chain(version, int(address.ip)):
        found = covering(config, index, version, int(address.ip))
        if found is None or not captures(situation.policy_of(index)):
            continue
        packed, where = found
        prefix = unpack(packed)
        if not prefix[1]:
            continue
        yield Problem(
            "tun-address-captured",
            Severity.WARNING,
            place or where,
            f"the TUN's own {address} lies inside {format_prefix(version, *prefix)}, which "
            f"{rule(config, index)} sends to '{situation.policy_of(index)}': "
            f"hosts at {address.network} there can't be reached",
            _other_address(situation, version),
        )
        return


def _overlapping(situation: Situation, address: Address, place: Place | None) -> Iterator[Problem]:
    for interface in situation.network.interfaces.values():
        if (
            interface.name == situation.config.tun.name
            or interface.name in situation.network.own_tuns
        ):
            continue
        held = _overlapped(interface, address)
        if held is not None:
            yield _overlap(situation, address, place, interface, held)


def _overlapped(interface: Interface, address: Address) -> Address | None:
    for held in interface.addresses:
        if held.version == address.version and held.network.overlaps(address.network):
            return held
    return None


def _overlap(
    situation: Situation,
    address: Address,
    place: Place | None,
    interface: Interface,
    held: Address,
) -> Problem:
    users = [name for name in situation.interfaces if situation.leaves_by(name, interface.name)]
    remedy = _other_address(situation, address.version)
    if users:
        return Problem(
            "tun-inside-way-out",
            Severity.ERROR,
            place or situation.config.tun.place,
            f"the TUN's {address} overlaps {held.network} of {interface.name}, the interface of "
            f"'{users[0]}': its gateway and hosts could not be reached",
            remedy,
        )
    if any(each.ip == address.ip for each in interface.addresses):
        return Problem(
            "tun-address-taken",
            Severity.ERROR,
            place or situation.config.tun.place,
            f"the TUN's {address.ip} is already an address of {interface.name}, "
            "which is not a TUN of tunrouter",
            remedy,
        )
    return Problem(
        "tun-overlaps-interface",
        Severity.WARNING,
        place or situation.config.tun.place,
        f"the TUN's {address} overlaps {held.network} of {interface.name}",
        remedy,
    )


def _other_address(situation: Situation, version: int) -> str:
    """A remedy that names a free address."""
    for text in CANDIDATES:
        candidate = ip_interface(text)
        if candidate.version == version and _is_free(situation, candidate):
            return f"give the TUN another address, such as {candidate}"
    return "give the TUN an address that no rule and no interface has"


def _is_free(situation: Situation, candidate: Address) -> bool:
    version, first = candidate.version, int(candidate.ip)
    if any(
        _overlapped(interface, candidate) for interface in situation.network.interfaces.values()
    ):
        return False
    return not any(situation.rule_set.chain(version, first))


def _lacking_family(situation: Situation) -> Iterator[Problem]:
    """Packets of this machine would have the source of another interface, or would not leave."""
    config = situation.config
    versions = {address.version for address in config.tun.addresses}
    for version in {4, 6} - versions:
        ranges = captured_ranges(config, situation.rule_set, version)
        if not ranges:
            continue
        routes = [each for each in situation.plan.routes if each.version == version]
        what = prefixes([each[:3] for each in routes[:3]], len(routes))
        yield Problem(
            "tun-lacks-family",
            Severity.WARNING,
            config.tun.address_places[0] if config.tun.address_places else config.tun.place,
            f"the TUN has no IPv{version} address, but rules capture {what}",
            f"add one to 'address', such as {_candidate(version)}",
        )


def _candidate(version: int) -> Address:
    return next(address for address in map(ip_interface, CANDIDATES) if address.version == version)
