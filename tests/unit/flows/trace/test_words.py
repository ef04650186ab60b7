"""The filter's words: trees, and what is wrong with others."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from router.flows.trace.words import (
    DEEPEST,
    EVERYTHING,
    And,
    BadFilterError,
    Dropped,
    Net,
    Not,
    Or,
    Policy,
    Port,
    Protocol,
    RuleNumber,
    Tree,
    parse,
    policies,
    rules,
)

A, TCP, DNS = Net(ip_network("192.0.2.1/32")), Protocol("tcp"), Port(53)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", EVERYTHING),
        ("host 192.0.2.1", A),
        ("host [2001:db8::1]", Net(ip_network("2001:db8::1/128"))),
        ("net 192.0.2.1/24", Net(ip_network("192.0.2.0/24"))),
        ("port 53 and tcp or dropped", Or((And((DNS, TCP)), Dropped()))),
        ("port 53 and (tcp or dropped)", And((DNS, Or((TCP, Dropped()))))),
        ("not (tcp and port 53)", Or((Not(TCP), Not(DNS)))),
        ("not(tcp or not port 53)", And((Not(TCP), DNS))),
        ("not not policy and", None),
        ("policy home or rule 0", Or((Policy("home"), RuleNumber(0)))),
    ],
)
def test_trees(text: str, tree: Tree | None) -> None:
    if tree is None:
        with pytest.raises(BadFilterError):
            parse(text)
    else:
        assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hots 192.0.2.1", "'hots' is no word of a filter: did you mean 'host'?"),
        ("host", "host needs a value, as in host 192.0.2.1"),
        ("host and tcp", "host needs a value, as in host 192.0.2.1"),
        ("host name", "host cannot be 'name': it is an address, as in host 192.0.2.1"),
        ("net 192.0.2.0/33", "net cannot be '192.0.2.0/33': it is a network, as in"),
        ("port 65536", "port cannot be '65536': it is a number from 0 to 65535"),
        ("rule x", "rule cannot be 'x': it is a number, 0 for the default"),
        ("tcp udp", "'udp' follows without 'and' or 'or'"),
        ("(tcp", "a parenthesis is not closed: add ')'"),
        ("tcp)", "')' stands where it cannot"),
        ("tcp and", "the filter ends too early"),
        ("not " * (DEEPEST + 2) + "tcp", "levels of parentheses"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(BadFilterError) as refused:
        parse(text)
    assert message in str(refused.value)


def test_what_a_tree_names() -> None:
    tree = parse("not policy a and (policy b or rule 3) and host 192.0.2.1")
    assert (policies(tree), rules(tree)) == (["a", "b"], [3])
