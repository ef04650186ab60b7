"""What the guard does on a fake Mac, by requests that are valid and such that are not; and the
router's side of it, with the guard and the undoer as processes."""

from __future__ import annotations

import os
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from router.platform.base.errors import PlatformError
from router.platform.base.processes import Leftover
from router.platform.darwin.client.facts import DarwinFacts
from router.platform.darwin.client.processes import DarwinProcesses
from router.platform.darwin.client.tuns import DarwinTuns
from router.platform.darwin.operations.all import DarwinOperations
from router.platform.darwin.peer import CheckedListener
from router.platform.darwin.runtime import own_tuns
from router.platform.darwin.state import read_interfaces
from router.platform.darwin.undoable import DarwinUndoable
from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient
from router.platform.privileged.guard import carry_out
from router.platform.privileged.journal import Journal
from router.platform.privileged.route_message import pack_routes
from router.platform.privileged.routes import GuardedRoutes
from router.platform.privileged.runtime import RuntimeDirectory
from router.policy.network import Interface
from tests.e2e.wait import wait_until
from tests.unit.darwin.fake_mac import FakeMac
from tests.unit.darwin.fake_processes import processes
from tests.unit.darwin.macs import ADDRESSES, EN0, LO, VPN, key, route

WRITTEN = ["192.168.7.1/30", "fd77::1/126"]
OPEN = ["open_tun", {"name": "utun11", "mtu": 1400, "addresses": WRITTEN}]
OWN = key("192.168.7.1/32", is_host=True)
VPN_DEFAULTS = {key("0.0.0.0/0", scope=VPN), key("::/0", scope=VPN)}


@pytest.fixture
def runtime() -> Iterator[RuntimeDirectory]:
    """Under a short name: the path of a socket has 103 bytes at most (sys/un.h)."""
    with tempfile.TemporaryDirectory(prefix="tr-") as directory:
        path = Path(directory, "tunrouter")
        yield RuntimeDirectory(lambda: (path,), "df")


class World:
    """A guard in this process, on a fake Mac."""

    def __init__(self, runtime: RuntimeDirectory) -> None:
        self.mac = FakeMac()
        self.runtime = runtime
        kernel = self.mac.kernel
        self.operations = DarwinOperations(kernel, self.mac, processes(), runtime, ((), ()))

    def ask(self, name: str, records: bytes = b"", /, **arguments: Any) -> Message:
        return carry_out(self.operations, Message([name, arguments], records=records))

    def open(self) -> Any:
        reply = carry_out(self.operations, Message(OPEN))
        for descriptor in reply.descriptors:
            os.close(descriptor)
        return reply.value

    def added(self) -> set[Any]:
        return set(self.mac.kernel.table) - set(self.mac.before)


@pytest.fixture
def world(runtime: RuntimeDirectory) -> Iterator[World]:
    found = World(runtime)
    yield found
    if runtime.path().exists():
        found.operations.close()
    for each in found.mac.opened:
        each.device.close()


def test_a_utun_is_handed_over_with_what_the_router_needs(world: World) -> None:
    reply = carry_out(world.operations, Message(OPEN))
    found = {"name": "utun11", "index": 17, "own": ["c0a80701"]}
    assert reply.value == {"value": (found, [])}
    (descriptor,) = reply.descriptors
    assert stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    assert (world.runtime.path() / "utun11.undo").exists()
    assert world.open() == {"refused": "there is a utun already, utun11"}


def test_routes_by_records_and_anew_without(world: World) -> None:
    world.open()
    before = set(world.mac.kernel.table)
    labels, records = pack_routes([route("198.51.100.0/24"), route("2001:db8:9::/48", 1280)])
    assert world.ask("add_routes", records, labels=labels).value == {"value": None}
    wanted = {key("198.51.100.0/24"), key("2001:db8:9::/48"), OWN}
    assert set(world.mac.kernel.table) - before == wanted
    del world.mac.kernel.table[key("198.51.100.0/24")]
    reply = world.ask("reconcile", labels=None)
    assert reply.value == {"value": (["198.51.100.0/24"], [], [])}
    assert set(world.mac.kernel.table) - before == wanted
    labels, records = pack_routes([route("203.0.113.0/24")])
    world.ask("reconcile", records, labels=labels)
    assert set(world.mac.kernel.table) - before == {key("203.0.113.0/24"), OWN}


def test_routes_that_are_refused_are_not_wanted_afterwards(world: World) -> None:
    world.open()
    labels, records = pack_routes([route("198.51.100.0/24")])
    world.ask("add_routes", records, labels=labels)
    link = world.mac.kernel.links.pop(17)
    labels, records = pack_routes([route("203.0.113.0/24")])
    assert "utun11 is gone" in world.ask("reconcile", records, labels=labels).value["refused"]
    world.mac.kernel.links[17] = link
    world.ask("reconcile", labels=None)
    assert key("198.51.100.0/24") in world.mac.kernel.table
    assert key("203.0.113.0/24") not in world.mac.kernel.table


def test_a_tunnel_gets_scoped_defaults_and_loses_them_in_the_end(world: World) -> None:
    world.open()
    reply = world.ask("prepare_interface", name="utun3", index=VPN)
    assert reply.value == {"value": True}
    assert world.added() >= VPN_DEFAULTS
    assert world.ask("prepare_interface", name="utun3", index=VPN).value == {"value": False}
    journal = (world.runtime.path() / "utun11.undo").read_bytes()
    assert journal.count(b"scoped_default") == 2
    undoer = world.operations.undoer
    assert undoer is not None
    os.kill(undoer._process.pid, signal.SIGKILL)
    assert world.operations.close()
    assert not world.added() & VPN_DEFAULTS
    assert not world.runtime.path().exists()


@pytest.mark.parametrize("operation", ["prepare_interface", "icmp_socket"])
def test_an_interface_that_is_none_is_refused(world: World, operation: str) -> None:
    world.open()
    more = {"version": 4} if operation == "icmp_socket" else {}
    before = dict(world.mac.kernel.table)
    for name, index, words in (
        ("utun9", 9, "interface utun9 is gone"),
        ("utun3", EN0, "interface utun3 is gone"),
        ("lo0", LO, "lo0 is the loopback interface"),
        ("utun3", True, "True is not a number"),
        ("a/b", 8, "'a/b' is not the name of an interface"),
        (None, 8, "None is not the name of an interface"),
    ):
        refused = world.ask(operation, name=name, index=index, **more).value["refused"]
        assert words in refused
    assert world.mac.kernel.table == before


@pytest.mark.parametrize(
    "request_",
    [
        ["open_tun", {"name": 7, "mtu": 1400, "addresses": WRITTEN}],
        ["open_tun", {"name": "utun11", "mtu": 10, "addresses": WRITTEN}],
        ["open_tun", {"name": "utun11", "mtu": 1400, "addresses": []}],
        ["open_tun", {"name": "utun11", "mtu": 1400, "addresses": ["x"]}],
        ["open_tun", {"name": "tun11", "mtu": 1400, "addresses": WRITTEN}],
        ["open_tun", {"name": "utun1", "mtu": 1400, "addresses": WRITTEN}],
        ["open_tun", {"name": "utun11", "mtu": 1400, "addresses": ["10.8.0.2/30"]}],
        ["add_routes", {"labels": []}],
        ["reconcile", {"labels": None}],
        ["prepare_interface", {"name": "utun3", "index": VPN}],
        ["control_socket", {}],
        ["start_resolver", {"host": "-x"}],
        ["icmp_socket", {"version": 5, "name": "en0", "index": EN0}],
        *(["raw_socket", {}], ["open_tun"], None, [[], {}]),
    ],
    ids=str,
)
def test_what_is_no_valid_request_changes_nothing(world: World, request_: Any) -> None:
    reply = carry_out(world.operations, Message(request_))
    assert reply.value.keys() == {"refused"}
    assert reply.descriptors == ()
    assert world.added() == set()
    assert not world.runtime.path().exists()
    assert all(each.is_closed for each in world.mac.opened)


def test_an_address_of_another_interface_is_named(world: World) -> None:
    addresses = ["10.8.0.2/30"]
    refused = world.ask("open_tun", name="utun11", mtu=1400, addresses=addresses).value["refused"]
    assert "10.8.0.2 is already an address of utun3" in refused


def test_what_a_killed_run_has_left_is_undone_at_the_next_start(world: World) -> None:
    system = DarwinUndoable(world.mac.kernel, processes())
    left = Journal.create(system, world.runtime.make() / "utun9.undo")
    left.write({"undo": "scoped_default", "version": 4, "name": "utun3", "index": VPN})
    left.close()
    world.mac.kernel.add(key("0.0.0.0/0", scope=VPN), VPN)
    _, leftovers = world.open()["value"]
    assert leftovers == [Leftover("the scoped default route of IPv4 by utun3")]
    assert not world.added() & VPN_DEFAULTS


def test_own_utuns_are_those_that_there_are(world: World) -> None:
    """The file of a killed router's control socket may still exist."""
    world.open()
    world.ask("control_socket")
    directory = world.runtime.path()
    (directory / "utun12.sock").write_text("")
    present = read_interfaces(world.mac.kernel)
    assert own_tuns(present, world.runtime) == {"utun11"}


# With processes of their own


@pytest.fixture
def guard(runtime: RuntimeDirectory, monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardClient]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    found = GuardClient("tests.unit.darwin.fake_guard", [str(runtime.path())], acknowledges=True)
    yield found
    found._process.kill()
    found._process.wait()
    found._channel.close()


def interface(name: str, index: int) -> Interface:
    return Interface(name, index, True, 1400, (), asks_neighbours=False)


def test_a_run_from_its_beginning_to_its_end(guard: GuardClient, runtime: RuntimeDirectory) -> None:
    tuns = DarwinTuns(guard, runtime)
    utun = tuns.open_tun("utun11", 1400, ADDRESSES)
    assert (utun.name, utun.index, utun.own) == ("utun11", 17, frozenset({bytes([192, 168, 7, 1])}))
    assert tuns.journal == runtime.path() / "utun11.undo"
    with pytest.raises(BlockingIOError):
        utun.receive()
    routes = GuardedRoutes(guard)
    routes.begin_adding([route("198.51.100.0/24")])()
    assert routes.reconcile([route("203.0.113.0/24")]).restored == ["203.0.113.0/24"]
    assert routes.prepare_interface(interface("en0", EN0)) is False
    with pytest.raises(PlatformError, match="interface utun9 is gone"):
        routes.prepare_interface(interface("utun9", 9))
    facts = DarwinFacts(guard, FakeMac().kernel, runtime)
    assert facts.endpoints() == ()
    control = DarwinProcesses(guard, processes()).control_socket()
    assert isinstance(control, CheckedListener)
    assert (control.family, control.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
    path = runtime.sockets()["utun11"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
    control.close()
    utun.close()
    guard.close(tuns.journal)
    assert not runtime.path().exists()


def test_a_killed_guard_has_its_undoer_remove_what_there_is(
    guard: GuardClient, runtime: RuntimeDirectory
) -> None:
    tuns = DarwinTuns(guard, runtime)
    tuns.open_tun("utun11", 1400, ADDRESSES).close()
    DarwinProcesses(guard, processes()).control_socket().close()
    assert runtime.sockets()
    os.kill(guard._process.pid, signal.SIGKILL)
    guard.close(tuns.journal)
    wait_until(lambda: not runtime.path().exists(), "the directory to be removed")


def test_the_guard_ends_with_the_router(runtime: RuntimeDirectory) -> None:
    """Whatever of the connection a child of the router still has."""
    root = Path(__file__).parents[3]
    reading, writing = os.pipe()
    router = os.fork()
    if router == 0:
        with suppress(BaseException):
            os.environ["PYTHONPATH"] = str(root)
            guard = GuardClient("tests.unit.darwin.fake_guard", [str(runtime.path())])
            DarwinTuns(guard, runtime).open_tun("utun11", 1400, ADDRESSES)
            kept = os.dup(guard.fileno())
            os.set_inheritable(kept, True)
            if os.fork() == 0:
                os.close(writing)
                os.execv("/bin/sh", ["/bin/sh", "-c", "read line"])  # its input is that of pytest
            os.write(writing, b"open")
            signal.pause()
        os._exit(1)
    os.close(writing)
    assert os.read(reading, 4) == b"open"
    os.close(reading)
    assert (runtime.path() / "utun11.undo").exists()
    os.kill(router, signal.SIGKILL)
    os.waitpid(router, 0)
    wait_until(lambda: not runtime.path().exists(), "guard and undoer to end")
