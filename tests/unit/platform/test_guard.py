"""The guard's replies, to valid requests and to invalid ones."""

from __future__ import annotations

import ast
import errno
import os
import sys
import time
from typing import Any, NoReturn

import pytest

from router.platform.base.errors import PlatformError
from router.platform.base.starts import START_BURST
from router.platform.linux.operations.all import LinuxOperations
from router.platform.privileged import started
from router.platform.privileged.channel import Message
from router.platform.privileged.guard import carry_out
from router.platform.privileged.program import Program

LO = {"name": "lo", "index": 1}
OFFLOADS = {"offloads": False}


@pytest.fixture
def operations() -> LinuxOperations:
    """Real ones that have no TUN yet, and some that fail."""
    operations = LinuxOperations((), ())

    def refuse() -> NoReturn:
        raise PlatformError("tun11 is gone")

    def fail(number: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    operations.by_name = {
        **operations.by_name,
        "refuse": refuse,
        "fail": fail,
        "answer": lambda **arguments: Message(arguments, [7]),
    }
    return operations


def answer(operations: LinuxOperations, value: Any) -> Any:
    return carry_out(operations, Message(value)).value


def test_the_result_of_an_operation(operations: LinuxOperations) -> None:
    done = carry_out(operations, Message(["answer", {"first": 1}]))
    assert done == Message({"value": {"first": 1}}, [7])


def test_an_operation_that_fails(operations: LinuxOperations) -> None:
    assert answer(operations, ["refuse", {}]) == {"refused": "tun11 is gone"}
    assert answer(operations, ["fail", {"number": errno.ENODEV}]) == {"errno": errno.ENODEV}


def test_an_interface_that_is_gone_is_refused_by_name(operations: LinuxOperations) -> None:
    """Python's error for that has no number, and the reply needs one."""
    gone = ["prepare_interface", {"name": "tr-gone0", "index": 7, "routed": False}]
    assert answer(operations, gone) == {"refused": "interface tr-gone0 is gone"}


@pytest.mark.parametrize(
    "request_",
    [
        *(None, 0, "", [], {}, "open_tun", ["open_tun"], ["open_tun", []], [[], {}], [None, None]),
        *(
            ["no_such", {}],
            ["__class__", {}],
            ["open_tun", {"name": 1}],
            ["reconcile", {"labels": 1}],
            ["reconcile", {"labels": [], "records": "x"}],
        ),
        *(["reconcile", {"labels": [[4]]}], ["endpoints", {"more": 1}]),
        *(
            ["icmp_socket", {**LO, "version": 4, "first_id": "", "after_last": None}],
            ["raw_socket", {**LO, "version": 4, "address": "127.0.0.1"}],
            ["raw_socket", {"name": "", "index": 0, "version": 4, "address": "127.0.0.1"}],
            ["frame_socket", {**LO, "protocol": 0x0800}],
            ["listening_socket", {"address": "localhost"}],
            ["listening_socket", {"address": "127.0.0.1"}],
            ["open_tun", {"name": "../x", "mtu": 1500, "addresses": ["10.0.0.1/30"], **OFFLOADS}],
            ["open_tun", {"name": None, "mtu": 1500, "addresses": ["host"], **OFFLOADS}],
            ["open_tun", {"name": None, "mtu": 1 << 40, "addresses": ["10.0.0.1/30"], **OFFLOADS}],
        ),
        ["udp_sockets", {"version": 4, "number": 1 << 70}],
        ["udp_sockets", {"version": 4, "number": 100_000}],
        ["udp_sockets", {"version": 16, "number": 1}],
        ["prepare_interface", {**LO, "routed": False}],
        ["prepare_interface", {"name": "../../kernel", "index": 1, "routed": False}],
        ["prepare_interface", {"name": "lo", "index": 77, "routed": False}],
        ["prepare_interface", {"name": "lo\0", "index": 1, "routed": False}],
        ["control_socket", {}],
        ["start_watch", {"file": "/etc/shadow"}],
        ["start_resolver", {"host": "-h"}],
        ["start_resolver", {"host": "a" * 300}],
        ["start_resolver", {"host": ["proxy.example"]}],
        ["start_explain", {"destination": "-c", "protocol": None, "port": None}],
        ["start_explain", {"destination": "192.0.2.1", "protocol": "gre", "port": None}],
        ["start_explain", {"destination": "192.0.2.1", "protocol": "tcp", "port": 65536}],
        ["start_web", {"host": "localhost", "port": 9469, "token": None}],
        ["start_web", {"host": "127.0.0.1", "port": 0, "token": None}],
        ["start_web", {"host": "0.0.0.0", "port": 9469, "token": None}],
        ["start_web", {"host": "0.0.0.0", "port": 9469, "token": "too short"}],
        ["start_web", {"host": "127.0.0.1", "port": 9469, "token": ["no text, but a list"]}],
    ],
    ids=str,
)
def test_an_invalid_request_is_refused(operations: LinuxOperations, request_: Any) -> None:
    refused = answer(operations, request_)
    assert list(refused) in (["refused"], ["errno"])
    assert len(str(refused)) < 500


def test_the_rules_are_not_read_more_often_than_anybody_needs(operations: LinuxOperations) -> None:
    operations._started._reread = Program((sys.executable, "-S", "-c", ""))
    outcomes = []
    for _ in range(3 * START_BURST):
        done = carry_out(operations, Message(["start_reread", {}]))
        outcomes.append("value" in done.value)
        for descriptor in done.descriptors:
            os.close(descriptor)
    operations._started._reread.end()
    assert START_BURST <= outcomes.count(True) < len(outcomes)


def test_the_program_that_watches_gets_the_time_and_nothing_of_the_router(
    operations: LinuxOperations,
) -> None:
    operations._started._watch = Program(
        (sys.executable, "-S", "-c", "import sys; print(sys.argv[1:])")
    )
    before = time.time()
    done = carry_out(operations, Message(["start_watch", {}]))
    with open(done.descriptors[0], encoding="utf-8") as output:  # noqa: PTH123 - a descriptor
        mode, since = ast.literal_eval(output.read())
    assert mode == "watch"
    assert before <= float(since) <= time.time()
    operations._started._watch.end()


PRINTING = (sys.executable, "-S", "-c", "import os; print(dict(os.environ))")


def test_programs_that_read_no_rules_get_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """They serve strangers, or read what name servers say."""
    monkeypatch.setenv("PROXY_PASSWORD", "secret")
    monkeypatch.setenv("TUNROUTER_LOG", "debug,json")
    monkeypatch.setattr(started, "WEB", PRINTING)
    monkeypatch.setattr(started, "RESOLVER", PRINTING)
    operations = LinuxOperations(PRINTING, PRINTING)
    web = {"host": "127.0.0.1", "port": 9469, "token": None}
    for request, has_it in (
        (["start_web", web], False),
        (["start_resolver", {"host": "proxy.example"}], False),
        (["start_reread", {}], True),
    ):
        (descriptor,) = carry_out(operations, Message(request)).descriptors
        with open(descriptor, encoding="utf-8") as output:  # noqa: PTH123 - a descriptor
            environment = ast.literal_eval(output.read())
        assert environment["TUNROUTER_LOG"] == "debug,json"
        assert ("PROXY_PASSWORD" in environment) == has_it, request
    operations.close()


def test_unexpected_descriptors_are_closed(operations: LinuxOperations) -> None:
    read, write = os.pipe()
    carry_out(operations, Message(["refuse", {}], [write]))
    assert os.read(read, 1) == b""
    os.close(read)
