"""The guard's answers, to requests that make sense and to those that make none."""

from __future__ import annotations

import errno
import os
from typing import Any, NoReturn

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from router.platform.base import PlatformError
from router.platform.linux.channel import Message
from router.platform.linux.guard import carry_out
from router.platform.linux.operations import Operations
from router.platform.linux.reread import Program


@pytest.fixture
def operations() -> Operations:
    """Real ones that have no TUN yet, and some that fail."""
    operations = Operations(Program(()))

    def refuse() -> NoReturn:
        raise PlatformError("tun11 is gone")

    def fail(number: int) -> NoReturn:
        raise OSError(number, os.strerror(number))

    def fail_by_netlink(number: int) -> NoReturn:
        raise NetlinkError(number)

    operations.by_name = {
        **operations.by_name,
        "refuse": refuse,
        "fail": fail,
        "fail_by_netlink": fail_by_netlink,
        "answer": lambda **arguments: Message(arguments, [7]),
    }
    return operations


def answer(operations: Operations, value: Any) -> Any:
    return carry_out(operations, Message(value)).value


def test_what_an_operation_answers(operations: Operations) -> None:
    done = carry_out(operations, Message(["answer", {"first": 1}]))
    assert done == Message({"value": {"first": 1}}, [7])


def test_what_it_refuses(operations: Operations) -> None:
    assert answer(operations, ["refuse", {}]) == {"refused": "tun11 is gone"}
    assert answer(operations, ["fail", {"number": errno.ENODEV}]) == {"errno": errno.ENODEV}
    assert answer(operations, ["fail_by_netlink", {"number": errno.EPERM}]) == {
        "errno": errno.EPERM
    }


def test_an_interface_that_is_gone_is_refused_by_name(operations: Operations) -> None:
    """Python's error for that has no number, which the router would stumble over."""
    gone = ["prepare_way_out", {"name": "tr-gone0", "index": 7, "routed": False}]
    assert answer(operations, gone) == {"refused": "there is no interface tr-gone0 any more"}


@pytest.mark.parametrize(
    "request_",
    [
        *(None, 0, "", [], {}, "open_tun", ["open_tun"], ["open_tun", []], [[], {}], [None, None]),
        *(["no_such", {}], ["__class__", {}], ["open_tun", {"name": 1}], ["keep", {"routes": 1}]),
        *(["keep", {"routes": [[4]]}], ["endpoints", {"more": 1}]),
        ["icmp_socket", {"version": 4, "name": 7, "first_id": "", "after_last": None}],
        ["udp_sockets", {"version": 4, "number": 1 << 70}],
        ["prepare_way_out", {"name": "../../kernel", "index": 1, "routed": False}],
        ["prepare_way_out", {"name": "lo", "index": 77, "routed": False}],
        ["prepare_way_out", {"name": "lo\0", "index": 1, "routed": False}],
        ["control_socket", {}],
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(operations: Operations, request_: Any) -> None:
    refused = answer(operations, request_)
    assert list(refused) in (["refused"], ["errno"])
    assert len(str(refused)) < 500


def test_descriptors_that_nobody_asked_for_are_closed(operations: Operations) -> None:
    read, write = os.pipe()
    carry_out(operations, Message(["refuse", {}], [write]))
    assert os.read(read, 1) == b""
    os.close(read)
