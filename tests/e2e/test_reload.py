"""Other rules for a router that runs: flows that they do not affect go on unchanged, flows
that they affect are ended with an error, and a bad file changes nothing.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import ping, sockets
from tests.e2e.capture import Capture
from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.tcp_bed import Pair, conversation
from tests.e2e.test_check import installed
from tests.e2e.testbed import FAMILIES, V4, Family, Testbed
from tests.e2e.tunrouter import HEAD, TUN, Tunrouter, rules, running
from tests.e2e.udp import ECHO, echo, echoing
from tests.e2e.wait import BOUND_S, wait_until

pytestmark = pytest.mark.usefixtures("udp_servers")

HOME, VPN, OTHER = 1, 2, 21
"""Far hosts: by the home network, by the VPN, by the rules of a test."""
UNRELATED = "203.0.113.7 -> drop"
"""A rule that affects none of them."""


def written(*more: str, head: str = HEAD, default: str = "bypass") -> str:
    """The rules of a test: `more` first, in which HOST stands for OTHER of either family."""
    lines = [
        line.replace("HOST", family.far(OTHER))
        for line in more
        for family in (FAMILIES if "HOST" in line else FAMILIES[:1])
    ]
    own = [
        f"{family.far(host)} -> {policy}"
        for family in FAMILIES
        for host, policy in ((HOME, "home"), (VPN, "office"))
    ]
    return rules(*lines, *own, head=head, default=default)


@pytest.fixture(scope="module")
def started(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunrouter]:
    """One for all tests; when it has stopped, everything is as it was before."""
    before = state(bed.router)
    with running(bed.router, tmp_path_factory.mktemp("rules"), written()) as router:
        yield router
    wait_for_state(bed.router, before)


@pytest.fixture
def router(started: Tunrouter) -> Tunrouter:
    """With the rules of `written()`, whatever the test before has left."""
    file = started.rules_file
    if not file.exists() or file.read_text() != written():
        started.reload(written())
    return started


def _exchange(pair: Pair) -> None:
    pair.client.sendall(b"question")
    assert pair.server.recv(100) == b"question"
    pair.server.sendall(b"answer")
    assert pair.client.recv(100) == b"answer"


def _interfaces_of(bed: Testbed, family: Family, host: int) -> set[tuple[str, str]]:
    """By which interface and from which source new pings to a host arrive."""
    with Capture(bed.far) as far:
        assert ping.counted(bed.client, family.far(host)).received == 3
        return far.arrivals(family.far(host))


def test_unaffected_flows_go_on(bed: Testbed, family: Family, router: Tunrouter) -> None:
    """A transfer, a flood of pings, an exchange of datagrams: nothing is lost, and no connection
    is made again, while rules before and behind theirs are added and removed."""
    server = bed.far.start("iperf3", "-s", "-1", "--forceflush")
    server.wait_for_output("listening")
    address = family.far(HOME)
    transfer = bed.client.start("iperf3", "-c", address, "-t", "4", "-b", "50M", "-J")
    pings = ping.start(bed.client, address, "-i", "0.005")
    with echoing(bed, family, HOME) as sock, conversation(bed, family, HOME) as pair:
        own = _outside_ports(bed, family)
        for text in (written(UNRELATED), written(UNRELATED, "HOST -> reject"), written()):
            outcome = router.reload(text)
            assert "flows ended: 0;" in outcome
            echo(sock)
            _exchange(pair)
        assert _outside_ports(bed, family) == own
    ping.wait_for_the_rest(pings)
    assert transfer.wait() == 0, transfer.report()
    report: dict[str, Any] = json.loads(transfer.stdout)
    assert "error" not in report, report["error"]
    assert report["end"]["sum_received"]["bytes"] > 0
    for process in (server, pings, transfer):
        process.close()


def _outside_ports(bed: Testbed, family: Family) -> list[str]:
    """Of the router's UDP sockets, each with its identity."""
    shown = bed.router.run("ss", "-Hunape", f"-{family.version}").stdout
    return sorted(line for line in shown.splitlines() if "%eth0" in line)


def test_flows_with_another_decision_are_ended(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    router.reload(written("HOST -> home"))
    with conversation(bed, family, OTHER) as pair, echoing(bed, family, OTHER) as sock:
        _exchange(pair)
        assert ping.answered(bed.client, family.far(OTHER)).received == 3
        outcome = router.reload(written("HOST -> office"))
        assert "flows ended: 3 (1 icmp, 1 udp, 1 tcp);" in outcome
        for end in (pair.client, pair.server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        with Capture(bed.far, f"udp dst port {ECHO}") as far:
            echo(sock)
            [arrived] = [seen for seen in far.packets() if seen.direction == "In"]
            assert (arrived.interface, arrived.source.rpartition(".")[0]) == ("vpn0", family.wg0)
    assert _interfaces_of(bed, family, OTHER) == {("vpn0", family.wg0)}


def test_a_connection_that_is_not_captured_any_more_is_reset(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    router.reload(written("HOST -> home"))
    with conversation(bed, family, OTHER) as pair:
        assert "flows ended: 1 (1 tcp);" in router.reload(written())
        for end in (pair.client, pair.server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
    assert _interfaces_of(bed, family, OTHER) == {("home0", family.client)}


def test_thousands_of_connections_are_reset(bed: Testbed, router: Tunrouter) -> None:
    """Their resets are more than the TUN's queue holds at once."""
    number = 2000
    router.reload(written("HOST -> home"))
    with sockets.listener(bed.far) as listener:
        address, port = V4.far(OTHER), sockets.port_of(listener)
        clients = [sockets.connected(bed.client, V4, address, port) for _ in range(number)]
        servers = [listener.accept()[0] for _ in range(number)]
    assert f"flows ended: {number} ({number} tcp);" in router.reload(written())
    for end in (*clients, *servers):
        end.settimeout(BOUND_S)
        assert _outcome(end) == "ECONNRESET"
        end.close()


def _outcome(sock: socket.socket) -> str:
    try:
        return str(sock.recv(1))
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def test_a_changed_list_counts(bed: Testbed, family: Family, router: Tunrouter) -> None:
    listed = router.rules_file.with_name("list.txt")
    with_list = written().replace("rules:", "rules:\n  - {file: list.txt, policy: office}")
    listed.write_text("".join(f"{each.far(9)}\n" for each in FAMILIES))
    assert "routes added: 2;" in router.reload(with_list)
    assert _interfaces_of(bed, family, OTHER) == {("home0", family.client)}
    listed.write_text("".join(f"{each.far(OTHER)}\n" for each in FAMILIES))
    assert "routes added: 2; routes removed: 2" in router.reload()
    assert _interfaces_of(bed, family, OTHER) == {("vpn0", family.wg0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (written("HOST -> nowhere"), "error[unknown-policy]: no policy is called 'nowhere'"),
        ("rules: [", "error["),
        (written("198.51.100.300 -> home"), "error[bad-cidr]"),
        (written(head=HEAD.replace("mtu: 1500", "mtu: 1400")), "error[needs-restart]"),
        (written(head=HEAD.replace(TUN, "tun12")), "is now tun12 and was tun11"),
    ],
    ids=["unknown policy", "no YAML", "bad CIDR", "another MTU", "another TUN"],
)
def test_a_bad_file_changes_nothing(
    bed: Testbed, router: Tunrouter, text: str, message: str
) -> None:
    with conversation(bed, V4, HOME) as pair:
        before, logged = state(bed.router), len(router.log)
        assert router.reload(text).startswith("not reloaded")
        assert message in router.log[logged:]
        assert all(line.startswith("tunrouter: ") for line in router.log.splitlines())
        assert state(bed.router) == before
        _exchange(pair)
        assert "flows ended: 0" in router.reload(written())
        _exchange(pair)


def test_files_of_others_change_nothing_and_appear_nowhere(bed: Testbed, router: Tunrouter) -> None:
    directory = router.rules_file.parent
    listed, theirs, secret = (directory / name for name in ("list.txt", "theirs", "secret"))
    secret.write_text("root:secret\n")
    secret.chmod(0o600)
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    (theirs / "list.txt").symlink_to(secret)
    (theirs / "link").symlink_to(secret)
    os.chown(theirs / "link", 65534, 65534, follow_symlinks=False)
    listed.write_text("203.0.113.7\n")
    text = written().replace("default:", "  - {file: FILE, policy: drop}\ndefault:")
    before = state(bed.router)
    for file, mode, message in [
        ("theirs/list.txt", 0o644, f"chown root {theirs}, or"),
        ("theirs/link", 0o644, f"chown -h root {theirs}/link"),
        ("list.txt", 0o666, f"chmod go-w {listed}"),
        ("/proc/self/mem", 0o644, "Input/output error"),
        ("/dev/zero", 0o644, "is not a regular file but a device"),
    ]:
        listed.chmod(mode)
        assert router.reload(text.replace("FILE", file)).startswith("not reloaded")
        assert message in router.log
        assert state(bed.router) == before
    listed.chmod(0o644)
    assert router.reload(text.replace("FILE", "list.txt")).startswith("reloaded: 5 rules")
    assert "secret\n" not in router.log
    assert ":secret" not in router.log


def test_no_file_changes_nothing(bed: Testbed, router: Tunrouter) -> None:
    before, logged = state(bed.router), len(router.log)
    router.rules_file.rename(router.rules_file.with_name("elsewhere.yaml"))
    assert router.reload().startswith("not reloaded")
    assert str(router.rules_file) in router.log[logged:]
    assert state(bed.router) == before


def test_policies_are_added_changed_and_removed(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    by_wg0 = HEAD + "  other: {type: vpn, interface: wg0}\n"
    by_eth0 = HEAD + "  other: {type: direct, interface: eth0}\n"
    by_lan0 = HEAD + "  other: {type: direct, interface: lan0}\n"
    assert "policies added: other" in router.reload(written("HOST -> other", head=by_wg0))
    assert _interfaces_of(bed, family, OTHER) == {("vpn0", family.wg0)}
    assert "policies changed: other" in router.reload(written("HOST -> other", head=by_eth0))
    assert _interfaces_of(bed, family, OTHER) == {("home0", family.eth0)}
    logged = len(router.log)
    outcome = router.reload(written("HOST -> other", head=by_lan0))
    assert "policy other: up by lan0" in router.log[logged:]
    assert "flows ended: 1 (1 icmp)" in outcome
    assert "policies removed: other" in router.reload(written())
    assert _interfaces_of(bed, family, OTHER) == {("home0", family.client)}


def test_everything_is_captured_and_released_again(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    routes = installed(bed)
    with conversation(bed, family, HOME) as pair:
        router.reload(written("203.0.113.0/24 -> bypass", default="home"))
        assert _interfaces_of(bed, family, OTHER) == {("home0", family.eth0)}
        _exchange(pair)
        router.reload(written())
        assert _interfaces_of(bed, family, OTHER) == {("home0", family.client)}
        _exchange(pair)
    assert installed(bed) == routes


def test_many_reloads_leave_nothing_behind(bed: Testbed, router: Tunrouter) -> None:
    by_lan0 = HEAD + "  other: {type: direct, interface: lan0}\n"
    texts = [written("HOST -> other", head=by_lan0), written("HOST -> nowhere"), written(UNRELATED)]
    for text in texts:
        router.reload(text)
    before, descriptors, pids = state(bed.router), router.descriptors(), router.pids()
    for number in range(12):
        router.reload(texts[number % 3])
    router.reload(texts[2])
    wait_for_state(bed.router, before)
    wait_until(lambda: router.descriptors() <= descriptors, "no more descriptors than before")
    wait_until(lambda: set(router.pids()) <= set(pids), "no more processes than before")
