"""The lines about single flows."""

from __future__ import annotations

import logging
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest

from router.engine.flow_log import FlowLog, is_wanted


def flow(protocol: int, source: str, destination: str, rule: int = 3) -> Any:
    return SimpleNamespace(
        protocol=protocol,
        source=ip_address(source).packed,
        destination=ip_address(destination).packed,
        source_port=40000,
        destination_port=53,
        tally=SimpleNamespace(rule=rule, policy="home"),
        outbound=SimpleNamespace(leaves_by="eth0"),
        began=10.0,
        packets_out=2,
        bytes_out=100,
        packets_in=1,
        bytes_in=60,
    )


V4, V6 = ("192.168.7.1", "192.0.2.1"), ("fd77::1", "2001:db8::1")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (flow(17, *V4), "udp 192.168.7.1:40000 to 192.0.2.1:53 by rule 3, policy home, eth0"),
        (flow(6, *V6), "tcp [fd77::1]:40000 to [2001:db8::1]:53 by rule 3, policy home, eth0"),
        (flow(1, *V4, rule=0), "icmp 192.168.7.1 to 192.0.2.1 id 40000 by the default, policy"),
        (flow(58, *V6), "icmp fd77::1 to 2001:db8::1 id 40000 by rule 3, policy home, eth0"),
    ],
)
def test_words(made: Any, words: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert is_wanted()
    log = FlowLog(SimpleNamespace(now=14.5))
    log.begun(made)
    log.ended(made)
    begun, ended = caplog.messages
    assert begun.startswith(f"flow begun: {words}")
    assert ended.startswith(f"flow ended: {words}")
    assert ended.endswith(": 2 packets, 100 bytes out; 1 packets, 60 bytes in; 4.5 s")


def test_usually_nobody_wants_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert not is_wanted()
