"""What the router asks of a system, in the router's own terms.

Always true: nothing above this layer names a system call, a socket option number or a netlink
attribute. What outlives the process is undone by `System.close`, and by the system itself when the
process is killed.

Must not know: rules, flows, packets.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final, NamedTuple, Protocol

from router.policy.capture import Route
from router.policy.network import Endpoint, Interface, Network


class PlatformError(Exception):
    """The system refused something the router cannot run without; the message names the remedy."""


class Leftover(NamedTuple):
    """Something that a run has left, in a few words; `why` it could not be undone, with a remedy,
    or None: it is undone."""

    words: str
    why: str | None = None


Bytes = bytes | bytearray | memoryview


class HasFileno(Protocol):
    """Something to wait for."""

    def fileno(self) -> int: ...


READABLE: Final = 0x01
URGENT: Final = 0x02
WRITABLE: Final = 0x04
BROKEN: Final = 0x18
"""What has become of a descriptor: bits, as in epoll (EPOLLIN, EPOLLPRI, EPOLLOUT,
EPOLLERR | EPOLLHUP). Urgent: there is an urgent byte among what can be read, or will be."""


class Poller(Protocol):
    """Waits for any of many descriptors."""

    def add(self, descriptor: int) -> None:
        """Report it as long as it is readable."""
        ...

    def add_changes(self, descriptor: int) -> None:
        """Report once whenever it becomes readable, urgent, writable or broken. Closing it ends
        that."""
        ...

    def repeat_changes(self, descriptor: int) -> None:
        """Report once again what has become of it so far."""
        ...

    def remove(self, descriptor: int) -> None: ...

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """(descriptor, what has become of it), after at most `timeout` seconds (None: however long
        it takes)."""
        ...

    def close(self) -> None: ...


class TunDevice(Protocol):
    """An open TUN device. Closing it removes it, its addresses and its routes.

    frame: where `receive` leaves what it has read, and what `send` sends: a header that says what
    the system left to be done, and a packet; see router.wire.offload.
    offloads: whether the system takes frames to which something is left to be done.
    """

    name: str
    index: int
    mtu: int
    frame: bytearray
    offloads: bool

    def fileno(self) -> int: ...

    def receive(self) -> int:
        """Read the next frame; its length, header included.

        Raises BlockingIOError when there is none, OSError when the device is gone.
        """
        ...

    def send(self, size: int) -> None:
        """Hand the first `size` bytes of the frame to the system. Raises like `receive`."""
        ...

    def write(self, packet: bytes | bytearray) -> None:
        """Hand a packet to which nothing is left to be done to the system. Raises likewise."""
        ...

    def write_parts(self, parts: Sequence[Bytes]) -> None:
        """Hand in a frame, header and all, that is put together of `parts`. Raises likewise."""
        ...

    def close(self) -> None: ...


class Interfaces(Protocol):
    """The interfaces of the system, at the moment of the call."""

    def all(self) -> dict[str, Interface]: ...

    def holding_default(self, version: int, apart_from: str) -> str | None:
        """Name of the interface of the best default route of a family, `apart_from` not counted."""
        ...


class Pipe(HasFileno, Protocol):
    """What another process says."""

    def read(self) -> bytes:
        """The next bytes, as many as there are up to some limit; none at the end.

        Raises BlockingIOError when there is nothing at present.
        """
        ...

    def close(self) -> None:
        """End the process too, if it has more to say."""
        ...


class Changes(Protocol):
    """Becomes readable when interfaces, addresses or routes may have changed."""

    def fileno(self) -> int: ...

    def drain(self) -> None:
        """Read away what has been reported."""
        ...

    def close(self) -> None: ...


class ConnectFailure(NamedTuple):
    """Why a connection did not come about.

    error: an errno number, 0 when it did come about.
    icmp: type, code and the 32 bits behind the checksum of the ICMP error that ended it, and
    `offender` the address that it came from; None where there was none.
    """

    error: int
    icmp: tuple[int, int, int] | None = None
    offender: bytes | None = None


class TcpInfo(NamedTuple):
    """What a socket has had from the other end of its connection.

    segments    how many, of any kind; modulo 2**32
    received    how many bytes in their order; its end counts as one
    silence     for how many seconds there has been nothing, neither data nor acknowledgement
    is_owed     whether something that was sent, or is to be, is not acknowledged yet
    """

    segments: int
    received: int
    silence: float
    has_unacknowledged: bool


class Streams(Protocol):
    """TCP sockets, all of them non-blocking and without Nagle's delay, with urgent bytes in line.

    splicing: whether bytes may go from one to another by splice(2).
    """

    splicing: bool

    def dialling(
        self, version: int, interface: Interface, hop_limit: int, traffic_class: int
    ) -> socket.socket:
        """A socket, bound to the interface, to connect with. Raises OSError."""
        ...

    def connected(self, sock: socket.socket) -> None:
        """Give a socket the usual hop limit again. Raises OSError."""
        ...

    def failure(self, sock: socket.socket) -> ConnectFailure:
        """What became of an attempt to connect that is over."""
        ...

    def has_lost_interface(self, sock: socket.socket) -> bool:
        """Whether the interface that a socket is bound to is gone for good."""
        ...

    def has_ended(self, sock: socket.socket) -> bool:
        """Whether the connection of a socket is over for the system, by a reset or by both ends,
        so that a request from the same port would begin another."""
        ...

    def tcp_info(self, sock: socket.socket) -> TcpInfo:
        """What has come from the other end so far. Raises OSError."""
        ...

    def probe(self, sock: socket.socket) -> None:
        """Send one keepalive probe to an end that is owed nothing: at once when it has been silent
        for a second, else when it has. Raises OSError."""
        ...

    def start_keepalive(self, sock: socket.socket) -> None:
        """Probe likewise, and go on as the system usually does: an end that never answers breaks
        the connection. Of a socket for which `probe` was never called. Raises OSError."""
        ...

    def stop_keepalive(self, sock: socket.socket) -> None:
        """Send no more. Raises OSError."""
        ...

    def is_at_mark(self, sock: socket.socket) -> bool:
        """Whether the next byte of a socket is an urgent one."""
        ...

    def listening(self, address: bytes) -> socket.socket:
        """A listener at an address of the TUN and some port, to which nobody can connect but by
        packets that are written into the TUN. Raises OSError."""
        ...

    def passing(self, version: int, interface: Interface) -> socket.socket:
        """A raw socket, bound to the interface, to send whole packets by, header included.

        Raises OSError.
        """
        ...


class Arrived(NamedTuple):
    """Datagrams of one sender that arrived one behind the other, with the same fields.

    sender      the endpoint, as the socket has it
    payloads    all of one length but for the last, which may be shorter; good until the next
                call to any socket's `receive`
    """

    sender: bytes
    payloads: Sequence[Bytes]
    hop_limit: int
    traffic_class: int


class NetworkError(NamedTuple):
    """An ICMP error about a datagram that a socket sent, or what the socket says itself of one.

    offender        who reported it, 4 or 16 bytes; None when the socket itself did
    kind, code      ICMP type and code; not used when the socket itself reports
    value           what the error carries: an MTU, a pointer
    destination, port    of the datagram
    payload         of the datagram, as much of it as the error quotes
    hop_limit, traffic_class    of the error when it arrived
    """

    offender: bytes | None
    kind: int
    code: int
    value: int
    destination: bytes
    port: int
    payload: bytes
    hop_limit: int
    traffic_class: int


class DatagramSocket(Protocol):
    """A UDP socket bound to an interface and a port, non-blocking; it belongs to one family.

    Becomes readable also when there is an error. All methods but `close` raise OSError, and
    BlockingIOError when there is nothing or no room at the moment; an error that has been
    reported is raised once and then found by `errors`.
    """

    most_segments: int
    """How many datagrams `send_run` takes; 1 where the system knows no segmentation."""

    def fileno(self) -> int: ...

    def send(self, payload: Bytes, address: tuple[str, int], /) -> object: ...

    def send_run(self, payloads: Bytes, size: int, address: tuple[str, int], /) -> object:
        """Send several at once, each of `size` bytes but for the last, which may be shorter."""
        ...

    def receive(self) -> Sequence[Arrived]:
        """What has arrived, a bounded number of datagrams."""
        ...

    def endpoint(self, sender: bytes) -> tuple[bytes, int]:
        """Address and port of a sender."""
        ...

    def errors(self) -> Iterator[NetworkError]:
        """Take what has been reported, oldest first. Raises nothing."""
        ...

    def set_hop_limit(self, hop_limit: int) -> None: ...

    def set_traffic_class(self, traffic_class: int) -> None: ...

    def set_dont_fragment(self, dont_fragment: bool) -> None:
        """Refuse what is too long for the path instead of cutting it; IPv4: send with DF."""
        ...

    def close(self) -> None: ...


class Supervisor(Protocol):
    """Whoever started us and watches over us, if anybody does; no method waits or raises.

    watchdog: in seconds, how often `alive` wants to be called; None: never. Whoever stays silent
    for twice as long is taken to hang, and killed.
    """

    watchdog: float | None

    def ready(self, status: str) -> None:
        """Started, or reloaded; `status` is one line for people."""
        ...

    def reloading(self) -> None:
        """From now until `ready`."""
        ...

    def now(self, status: str) -> None:
        """The status has changed."""
        ...

    def alive(self) -> None: ...

    def stopping(self) -> None: ...


class GuardConnection(HasFileno, Protocol):
    """The connection to the process that undoes the router's changes when the router is killed."""

    def dispatch(self) -> None:
        """Call back for the replies that have arrived, if any. Raises PlatformError when that
        process has ended or does not reply."""
        ...


class NetworkPath(NamedTuple):
    """The way to an address.

    mtu: how long packets may be, in bytes; the least that every path carries where it is unknown.
    source: the address that they leave with; None where they can't.
    """

    mtu: int
    source: bytes | None


class ReconcileResult(NamedTuple):
    """What has become of what was installed, in a few words each.

    put_back    was missing, and is there again
    lacking     is missing still, and why
    """

    restored: list[str]
    failed: list[str]


class System(Protocol):
    """What the engine needs of a system."""

    interfaces: Interfaces
    streams: Streams

    def drop_privileges(self, user: str) -> None:
        """Go on with the rights of a user alone; whatever needs more is done by a process that has
        been started before. Raises PlatformError."""
        ...

    def open_tun(
        self, name: str | None, mtu: int, addresses: Sequence[IPv4Interface | IPv6Interface]
    ) -> TunDevice:
        """The one TUN device, with its addresses, up. Raises PlatformError that names who has it,
        if somebody has."""
        ...

    def add_routes(self, routes: Sequence[Route]) -> None:
        """Send the prefixes to the TUN. Raises PlatformError that names the one refused."""
        ...

    def keep(self, routes: Sequence[Route]) -> ReconcileResult:
        """Have the TUN as it was made, with exactly these routes, whoever has changed it.

        What cannot be had hinders nothing else. Raises PlatformError when the TUN is gone, or when
        routes are refused for which it has all they need.
        """
        ...

    def request_reconcile(
        self, routes: Sequence[Route], told: Callable[[ReconcileResult | PlatformError], None]
    ) -> None:
        """The same without waiting: `told` is called with the result or the error, at the latest by
        the guard's `dispatch`. Raises PlatformError."""
        ...

    def prepare_interface(self, interface: Interface) -> bool:
        """Let packets that are bound to the interface out, and their answers in; whether anything
        had to be done for it. Raises PlatformError.

        Idempotent; what it changes is undone by `close` or when the process ends.
        """
        ...

    def request_prepare_interface(
        self, interface: Interface, told: Callable[[bool | PlatformError], None]
    ) -> None:
        """The same without waiting for it, see `keep_soon`. Raises PlatformError."""
        ...

    def icmp_socket(self, version: int, interface: Interface, echo_ids: range) -> socket.socket:
        """A raw ICMP socket bound to the interface, non-blocking.

        It receives echo replies with an identifier in `echo_ids` and errors that quote such an
        echo request; and where the system's own "host unreachable" does not reach the UDP socket
        that it is about (Linux, IPv4), that too. For IPv4 it is given whole packets to send, header
        included; for IPv6 it reports hop limit and traffic class of what it receives. Raises
        OSError.
        """
        ...

    def path(self, version: int, interface: Interface, address: str) -> NetworkPath:
        """What the system knows of the way to an address by an interface."""
        ...

    def network(self) -> Network:
        """Everything at present, routes too; see `router.platform.present_network`."""
        ...

    def raise_descriptor_limit(self) -> int:
        """Let the process have as many descriptors as it may; how many those are."""
        ...

    def open_descriptors(self) -> int:
        """How many it has open. Raises OSError."""
        ...

    def udp_socket(self, version: int, interface: Interface, port: int) -> DatagramSocket:
        """A UDP socket that sends and receives by the interface alone, at an outside port.

        Raises OSError; with EADDRINUSE or EACCES another port may do.
        """
        ...

    def endpoints(self) -> Sequence[Endpoint]:
        """Where tunnels send their packets at present, as far as the system tells."""
        ...

    def request_endpoints(self, told: Callable[[Sequence[Endpoint] | PlatformError], None]) -> None:
        """The same without waiting: `told` is called, at the latest by the guard's `dispatch`.
        Raises PlatformError."""
        ...

    def control_socket(self) -> socket.socket:
        """A listening Unix socket, non-blocking, where this router is asked, by nobody but root.

        Its file is removed by `close` or when the process ends. Raises PlatformError.
        """
        ...

    def watch(self) -> Changes: ...

    def poller(self) -> Poller: ...

    def start_reread(self) -> Pipe:
        """Start the program that was named at the beginning, with the rights of then; what it
        writes to its standard output. Raises PlatformError."""
        ...

    def guard(self) -> GuardConnection: ...

    def close(self) -> None:
        """Undo everything that was changed and does not go by itself."""
        ...
