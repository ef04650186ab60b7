"""Files with dozens of mistakes: every one is reported, at its line and column, and nothing else.

The files are put together from lines in which «code» stands before each value that is to be
reported with that code. Which lines, in what order, and between which good ones is drawn by a
seeded generator.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from router.config.loader import load

MARK = re.compile("«([a-z0-9-]+)»")

TOP = """\
«unknown-key»colour: green
version: «bad-version»one
tun:
  name: «bad-tun-name»a/tunnel
  address: [«bad-tun-address»192.168.7.0/30, "fd77::1/126", «bad-tun-address»"fd78::1/126"]
  mtu: «bad-mtu»66000
  «unknown-key»mut: 1500
«duplicate-key»version: 1
default: «unknown-policy»hoem
"""

POLICIES = """\
  home: {type: direct, interface: eth0}
  office: {type: vpn, interface: wg0, on_down: «unknown-policy»hime}
  p1: {type: «unknown-policy-type»direkt, interface: eth1}
  p2: {type: socks5, server: «bad-server»"127.0.0.1:0", via: «bad-via»reject}
  p3: {type: vpn, interface: «bad-interface-name»"no good", on_down: drop}
  p4: {type: vpn, interface: wg1, on_down: «policy-loop»p5}
  p5: {type: vpn, interface: wg2, on_down: p4}
  p6: {type: vpn, interface: wg3, on_down: «bad-on-down»bypass}
  «missing-key»p7: {type: vpn}
  «missing-key»p8: {interface: wg4}
  p9: «wrong-type»[vpn, wg5]
  «reserved-policy-name»drop: {type: direct, interface: eth0}
  «bad-policy-name»9p: {type: direct, interface: eth0}
  «unused-policy»spare: {type: direct, interface: eth0, «unknown-key»metric: 5}
  p10: {type: direct, interface: eth0, «duplicate-key»interface: eth2}
"""

BAD_RULES = """\
  - {cidr: 10.1.0.0/16, policy: «unknown-policy»offise}
  - {cidr: «bad-cidr»10.2.0.256/24, policy: home}
  - {cidr: [10.3.0.0/16, «bad-cidr»10.4.0.0/33, «bad-cidr»"fd00:::/16"], policy: home}
  - {cidr: «bad-cidr»example.org, policy: p1}
  - {cidr: «bad-cidr»10.5.0.0/255.255.0.0, policy: p2}
  - {cidr: «host-bits-set»10.6.1.1/16, policy: p3}
  - {cidr: «host-bits-set»"fd06::1/32", policy: p4, protocol: «bad-protocol»tpc}
  - {cidr: 10.7.0.0/16, policy: p6, protocol: tcp, port: [80, «bad-port»90-81, «bad-port»0]}
  - {cidr: 10.8.0.0/16, policy: p7, protocol: icmp, «port-with-icmp»port: 80}
  - {cidr: 10.9.0.0/16, policy: p8, «unknown-key»ports: 443}
  - {cidr: 10.10.0.0/16, «unknown-key»polcy: p9}
  - «missing-key»{cidr: 10.11.0.0/16}
  - «empty-rule»{policy: 9p}
  - «empty-rule»{}
  - «wrong-type»10.12.0.0/16
  - {cidr: «empty-rule»[], policy: p10}
  - {file: «missing-list»nowhere.txt, policy: home}
  - {file: «unreadable-list»., policy: home}
  - {file: «list-loop»rules.yaml, policy: home}
  - {file: «empty-list»empty.txt, policy: home}
  - {cidr: [10.13.0.0/16, «duplicate-cidr»10.13.0.0/16], policy: home}
  - {cidr: 10.14.0.0/16, policy: «wrong-type»[home, office]}
  - {cidr: 10.15.0.0/16, policy: home, «duplicate-key»policy: office}
  - {cidr: 10.16.0.0/16, protocol: «wrong-type»{tcp: 80}, policy: home}
  - {file: bad.txt, policy: drop}
"""

GOOD_RULES = """\
  - {cidr: 172.16.0.0/16, policy: home}
  - {cidr: ["fd16::/32", 172.17.0.1], policy: office, protocol: [tcp, udp], port: 53}
  # a comment with «nothing» in it
  - {file: good.txt, policy: bypass}
"""

BAD_LIST = """\
10.20.0.0/16
«bad-list-line»10.20.0.0/40
  «bad-list-line»10.20.0 # three
«host-bits-set»10.21.0.1/16
«nested-list»@more.txt
«duplicate-cidr»10.20.0.0/16
«bad-list-line»localhost
"""


def put_together(seed: int) -> str:
    generator = random.Random(seed)
    policies = POLICIES.splitlines()
    # p4 stands before p5, where the loop is reported; all else may stand anywhere.
    movable = [line for line in policies if not line.startswith(("  p4", "  p5"))]
    generator.shuffle(movable)
    rules = BAD_RULES.splitlines() + GOOD_RULES.splitlines()
    generator.shuffle(rules)
    sections = [
        "policies:\n" + "\n".join([*movable, *policies[5:7]]),
        "rules:\n" + "\n".join(rules),
    ]
    generator.shuffle(sections)
    blank = "\n" * generator.randrange(1, 4)
    return TOP + blank.join(sections) + "\n"


def marked(text: str) -> tuple[str, set[tuple[int, int, str]]]:
    """The text without its marks, and where they stood."""
    plain, expected = [], set()
    for number, full in enumerate(text.split("\n"), 1):
        line = full
        while (mark := MARK.search(line)) is not None and mark[1] != "nothing":
            expected.add((number, mark.start() + 1, mark[1]))
            line = line[: mark.start()] + line[mark.end() :]
        plain.append(line)
    return "\n".join(plain), expected


@pytest.mark.parametrize("pure_python", [False, True], ids=["libyaml", "pure-python"])
@pytest.mark.parametrize("seed", range(8))
def test_all_mistakes_are_reported_where_they_are(
    tmp_path: Path, seed: int, pure_python: bool
) -> None:
    rules, in_rules = marked(put_together(seed))
    bad_list, in_list = marked(BAD_LIST)
    for name, content in [
        ("rules.yaml", rules),
        ("bad.txt", bad_list),
        ("good.txt", "192.168.0.0/16\n"),
        ("empty.txt", "# nothing\n"),
    ]:
        (tmp_path / name).write_text(content, encoding="utf-8")
    loaded = load(tmp_path / "rules.yaml", pure_python=pure_python)
    found: dict[str, set[tuple[int, int, str]]] = {}
    for problem in loaded.problems:
        assert problem.place is not None
        file, line, column, _ = problem.place
        found.setdefault(Path(file).name, set()).add((line, column, problem.code))
    assert found == {"rules.yaml": in_rules, "bad.txt": in_list}
    assert len(loaded.problems) == len(in_rules) + len(in_list) >= 50
    assert loaded.config is None
