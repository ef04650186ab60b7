"""The parts of a run, opened and connected to each other.

Always true: a part is closed before those that it uses; a part that cannot be opened leaves none
open behind it.

Must not know: how long the run lasts, and what happens in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from functools import partial
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final, NamedTuple

from router.config.model import Config
from router.engine import flow_log
from router.engine.applied_rules import AppliedRules
from router.engine.carriers import Carriers
from router.engine.direct.answers import Answers
from router.engine.direct.decisions import Direct, IsListening
from router.engine.direct.forwarded import ForwardedFlows
from router.engine.direct.obstacles import Obstacles
from router.engine.direct.path import DirectPath
from router.engine.direct.sent import SentFlows
from router.engine.direct.translated import TranslatedAnswers
from router.engine.forwarder import Forwarder
from router.engine.held_packets import HasTimers, HeldPackets
from router.engine.icmp.queries import Queries
from router.engine.loop import Loop
from router.engine.observer.observer import Observer
from router.engine.reading import receive_all
from router.engine.refusals import Refusals
from router.engine.tcp.streams import Streams
from router.engine.tracked_requests import RequestOf, TrackedRequests
from router.engine.transit import Transit
from router.engine.tun_writer import TunWriter
from router.engine.udp.datagrams import Datagrams
from router.engine.udp.sockets import MappingSockets
from router.flows.drops import Drops
from router.outbound.all import Outbounds, Surroundings
from router.outbound.base import QueryChannel
from router.outbound.descriptors import Descriptors
from router.outbound.direct import DirectSenders
from router.outbound.host_names import HostNames
from router.outbound.local_addresses import LocalAddresses
from router.outbound.socks5.tools import Tools
from router.outbound.system_routes import SystemRoutes
from router.platform.base.descriptors import HasFileno
from router.platform.base.system import System
from router.platform.base.tun import TunDevice
from router.platform.identifications import random_16_bits
from router.policy.match.table import RuleSet

BUDGET: Final = 64
"""Packets from one descriptor before the others have their turn."""
MOST_UDP_SOCKETS: Final = 16_384
"""As many inside endpoints can have UDP flows at a time; see docs/limits.md."""


class Parts(NamedTuple):
    """What a run consists of, apart from its event loop and its routes."""

    tun: TunDevice
    descriptors: Descriptors
    outbounds: Outbounds
    senders: DirectSenders
    obstacles: Obstacles
    answers: Answers
    forwarder: Forwarder
    observer: Observer


def assemble(
    config: Config,
    rules: RuleSet,
    system: System,
    loop: Loop,
    stack: ExitStack,
    paths_changed: Callable[[], None],
    outbounds_changed: Callable[[], None],
) -> Parts:
    """Open everything but routes; `stack` closes it. Raises PlatformError, OSError.

    paths_changed: called when other packets than before may leave directly. outbounds_changed: when
    an outbound has gone up or down by itself.
    """
    tun = system.tuns.open_tun(config.tun.name, config.tun.mtu, config.tun.addresses)
    stack.callback(tun.close)
    if tun.flow_offload is not None:
        stack.callback(tun.flow_offload.close)
    descriptors = Descriptors(system.processes.raise_descriptor_limit())
    drops = Drops()
    channels = Channels(loop, descriptors)
    addresses = LocalAddresses(tun.name)
    senders = stack.enter_context(closing(DirectSenders(system, addresses)))
    names = HostNames(system.processes.start_resolver, loop)
    tools = Tools(loop, descriptors, drops.count, outbounds_changed, names)
    routes = SystemRoutes(system, tun.name, addresses)
    surroundings = Surroundings(system, tun.name, addresses, senders, channels, tools, routes)
    outbounds = Outbounds(config.policies.values(), surroundings)
    stack.callback(outbounds.close)
    answers = stack.enter_context(
        closing(Answers(system.answer_counters, outbounds, lambda: addresses.owners))
    )
    writer = TunWriter(tun, drops)
    refusals = Refusals(writer, drops, peers(config.tun.addresses))
    carriers = _carriers(config, system, loop, tun, addresses, descriptors, writer, refusals, drops)
    stack.callback(carriers.close)
    obstacles = Obstacles(system.packet_filter, outbounds, addresses, loop, paths_changed)
    host = Host(
        system.tcp.is_listening,
        obstacles.of,
        obstacles.may_forward,
        obstacles.forwarding,
        obstacles.translates_requests,
        system.packet_filter.request_of,
    )
    applied = AppliedRules(config, rules, outbounds, answers.covers)
    forwarder = make_forwarder(
        applied, carriers, outbounds, senders, tun, refusals, drops, loop, host
    )
    channels.forwarder = forwarder
    stack.callback(forwarder.direct.path.forwarded.close)
    obstacles.revoked = forwarder.direct.stop_forwarding
    observer = Observer(forwarder, writer)
    return Parts(tun, descriptors, outbounds, senders, obstacles, answers, forwarder, observer)


def _carriers(
    config: Config,
    system: System,
    loop: Loop,
    tun: TunDevice,
    addresses: LocalAddresses,
    descriptors: Descriptors,
    writer: TunWriter,
    refusals: Refusals,
    drops: Drops,
) -> Carriers:
    own: Mapping[int, bytes] = {
        address.version: address.ip.packed for address in config.tun.addresses
    }
    own_addresses = frozenset(own.values())

    def is_local(address: bytes) -> bool:
        return address in own_addresses or addresses.has(address)

    streams = Streams(*(system.tcp, tun, loop, own, is_local, descriptors, writer, refusals, drops))
    queries = Queries(writer, refusals, drops, random_16_bits(), is_local)
    datagrams = Datagrams(writer, refusals, drops, _mapping_sockets(loop, descriptors))
    carriers = Carriers(queries, datagrams, streams, drops)
    if flow_log.is_wanted():
        carriers.tell(flow_log.FlowLog(loop))
    return carriers


class Host(NamedTuple):
    """What is asked of this machine about packets from its own addresses.

    obstacle_of: see Direct. may_forward, forwarding: see ForwardedFlows. translates_requests:
    whether it may translate requests of other hosts.
    """

    is_listening: IsListening
    obstacle_of: Callable[[str], str | None]
    may_forward: Callable[[str], bool]
    forwarding: Callable[[bool], None]
    translates_requests: Callable[[], bool]
    request_of: RequestOf


def make_forwarder(
    rules: AppliedRules,
    carriers: Carriers,
    outbounds: Outbounds,
    senders: DirectSenders,
    tun: TunDevice,
    refusals: Refusals,
    drops: Drops,
    loop: HasTimers,
    host: Host,
) -> Forwarder:
    """With its direct path and its ways for answers of other hosts."""
    sent = SentFlows()
    forwarded = ForwardedFlows(tun.flow_offload, host.may_forward, host.forwarding, sent)
    path = DirectPath(tun.frame, refusals, drops, forwarded, sent)
    requests = TrackedRequests(host.request_of, loop)
    translated = TranslatedAnswers(path, senders, requests, host.translates_requests)
    direct = Direct(path, senders, refusals, host.is_listening, host.obstacle_of, translated)
    transit = Transit(outbounds, refusals, drops, requests)
    unsent = HeldPackets(loop, none=False)
    senders.opened = partial(unsent.answer, answer=True)
    return Forwarder(rules, carriers, direct, transit, requests, unsent, refusals, drops)


class Channels:
    """Reads from the query channels that are open, see ChannelWatcher.

    forwarder: what is read goes there; set before the first channel is opened.
    """

    forwarder: Forwarder

    def __init__(self, loop: Loop, descriptors: Descriptors) -> None:
        self._loop = loop
        self._descriptors = descriptors

    def opened(self, channel: QueryChannel) -> None:
        self._descriptors.others += 1
        self._loop.watch(channel, partial(self._read, channel))

    def closing(self, channel: QueryChannel) -> None:
        self._descriptors.others -= 1
        self._loop.forget(channel)

    def _read(self, channel: QueryChannel) -> None:
        receive_all(self.forwarder, channel, BUDGET, self._loop.now)


def peers(addresses: tuple[IPv4Interface | IPv6Interface, ...]) -> Mapping[int, bytes]:
    """By IP version, the other host address of the TUN's subnet: the router's, as others see it."""
    found: dict[int, bytes] = {}
    for address in addresses:
        hosts = (host for host in address.network.hosts() if host != address.ip)
        found[address.version] = next(hosts).packed
    return found


def _mapping_sockets(loop: Loop, descriptors: Descriptors) -> MappingSockets:
    """A quarter of the descriptors at most: others need some too."""

    def watch(source: HasFileno, readable: Callable[[float], None]) -> None:
        loop.watch(source, lambda: readable(loop.now))

    limit = min(MOST_UDP_SOCKETS, descriptors.limit // 4)
    return MappingSockets(watch, loop.forget, limit, descriptors)
