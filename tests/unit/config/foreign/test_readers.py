"""What each line becomes, or why it does not: single rules, policies and groups of each program."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.config.foreign.imports import loaded, of_text

CLASH = """\
proxies:
  - {name: s5, type: socks5, server: 192.0.2.1, port: 1080, udp: true}
  - {name: no-udp, type: socks5, server: 192.0.2.1, port: 1080}
  - {name: tls, type: socks5, server: 192.0.2.1, port: 1080, tls: true}
  - {name: bad host, type: socks5, server: "a b", port: 1080}
  - {name: bad port, type: socks5, server: 192.0.2.1, port: 0}
  - {name: http, type: http, server: 192.0.2.1, port: 8080}
  - {name: twice, type: socks5, server: 192.0.2.2, port: 1080, udp: true, dialer-proxy: s5}
  - {name: by-http, type: socks5, server: 192.0.2.2, port: 1080, dialer-proxy: http}
  - {name: round, type: socks5, server: 192.0.2.2, port: 1080, dialer-proxy: trip}
  - {name: trip, type: socks5, server: 192.0.2.2, port: 1080, dialer-proxy: round}
  - {name: "no", type: socks5, server: 192.0.2.3, port: 1080, udp: true}
  - {name: "reject", type: socks5, server: 192.0.2.4, port: 1080, udp: true}
  - {name: "世界", type: socks5, server: 192.0.2.5, port: 1080, udp: true}
  - {name: en, type: direct, interface-name: en0}
  - {name: tunnel, type: direct, interface-name: utun3}
  - {name: bad interface, type: direct, interface-name: "a/b"}
rules:
  - %s
  - MATCH,DIRECT
"""


def clash(directory: Path, rule: str) -> tuple[list[str], list[str]]:
    """The lines of rules, and the notes about others than proxies."""
    found, text = of_text("clash", directory, CLASH % rule)
    loaded(directory, text)
    rules = [line.strip().partition("  #")[0] for line in text.splitlines() if "{cidr" in line]
    notes = [str(note).partition(": ")[2] for note in found.notes]
    return rules, [note for note in notes if "the policy" not in note or rule[-4:] in note]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("IP-CIDR,10.1.2.3/8,DIRECT", "{cidr: 10.0.0.0/8, policy: bypass}"),
        ("ip-cidr , 10.0.0.0/8 , DIRECT", "{cidr: 10.0.0.0/8, policy: bypass}"),
        ("IP-CIDR6,2001:DB8::/32,s5,no-resolve", '{cidr: "2001:db8::/32", policy: s5}'),
        ("IP-CIDR,192.0.2.7,REJECT", "{cidr: 192.0.2.7/32, policy: reject}"),
        ("DST-PORT,22,s5", '{cidr: [0.0.0.0/0, "::/0"], port: 22, policy: s5}'),
        ("NETWORK,udp,REJECT", '{cidr: [0.0.0.0/0, "::/0"], protocol: udp, policy: reject}'),
        (
            "NOT,((IP-CIDR,128.0.0.0/1)),REJECT-DROP",
            '{cidr: [0.0.0.0/1, "::/0"], policy: drop}',
        ),
        (
            "AND,((DST-PORT,1-1000),(DST-PORT,900-2000),(IP-CIDR,10.0.0.0/8)),s5",
            "{cidr: 10.0.0.0/8, port: 900-1000, policy: s5}",
        ),
        ("IP-CIDR,10.0.0.0/8,twice", "{cidr: 10.0.0.0/8, policy: twice}"),
        ("IP-CIDR,10.0.0.0/8,no", "{cidr: 10.0.0.0/8, policy: no}"),
        ("IP-CIDR,10.0.0.0/8,reject", "{cidr: 10.0.0.0/8, policy: reject-2}"),
        ("IP-CIDR,10.0.0.0/8,世界", "{cidr: 10.0.0.0/8, policy: proxy}"),
        ("IP-CIDR,10.0.0.0/8,en", "{cidr: 10.0.0.0/8, policy: en}"),
    ],
)
def test_rules_of_clash(tmp_path: Path, rule: str, expected: str) -> None:
    rules, notes = clash(tmp_path, rule)
    assert rules == [f"- {expected}"]
    assert not [note for note in notes if rule in note]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("DOMAIN,example.org,s5", "matches names"),
        ("GEOIP,CN,DIRECT", "a database decides"),
        ("SRC-IP-CIDR,10.0.0.0/8,s5", "where a connection comes from"),
        ("IP-CIDR,10.0.0.0/8,s5,src", "where a connection comes from"),
        ("PROCESS-NAME,curl,s5", "programs or users"),
        ("IP-CIDR,10.0.0.300/8,s5", "'300' in '10.0.0.300/8' is over 255"),
        ("DST-PORT,99999,s5", "no port"),
        ("DST-PORT,20-10,s5", "no port"),
        ("FROBNICATE,x,s5", "the type 'FROBNICATE' is not known here"),
        ("IP-CIDR,10.0.0.0/8", "type, value and policy"),
        ("RULE-SET,none,s5", "no rule provider of that name"),
        ("AND,((IP-CIDR,10.0.0.0/8),(DOMAIN,x)),s5", "matches names"),
        ("NOT,((DOMAIN,x)),s5", "matches names"),
        ("NOT,((OR,((DOMAIN,x),(IP-CIDR,10.0.0.0/8)))),s5", "matches names"),
        ("AND,((IP-CIDR,10.0.0.0/8),s5", "parentheses"),
        ("AND,IP-CIDR,s5", "without parentheses"),
        ("SUB-RULE,(NETWORK,tcp),other", "rules within rules"),
        ("NOT," + "((NOT," * 40 + "((DST-PORT,1))" + "))" * 40 + ",s5", "do not match"),
        ("NOT," + "((NOT," * 16 + "((DST-PORT,1))" + "))" * 16 + ",s5", "nested more than 16 deep"),
    ],
)
def test_rules_of_clash_that_are_not_taken_over(tmp_path: Path, rule: str, why: str) -> None:
    rules, notes = clash(tmp_path, rule)
    assert not rules
    assert any(why in note for note in notes), notes


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("http", "there is no way out of type http here"),
        ("tls", "SOCKS5 by TLS"),
        ("bad host", "its server 'a b' has neither an address nor a host name"),
        ("bad port", "its port 0 is no port"),
        ("by-http", "'http', by which it is reached, is no way out here"),
        ("round", "leads back to itself"),
        ("bad interface", "its interface 'a/b' has a '/' in it"),
        ("missing", "no policy of that name is defined"),
    ],
)
def test_policies_without_counterpart_are_rejected(tmp_path: Path, policy: str, why: str) -> None:
    """Nothing falls to the rules behind."""
    rules, _ = clash(tmp_path, f"IP-CIDR,10.0.0.0/8,{policy}")
    assert rules == ["- {cidr: 10.0.0.0/8, policy: reject}"]
    found, text = of_text("clash", tmp_path, CLASH % f"IP-CIDR,10.0.0.0/8,{policy}")
    assert f"was {policy}" in text
    assert any(why in note.why and note.line for note in found.notes), found.notes


def test_a_proxy_without_udp(tmp_path: Path) -> None:
    found, text = of_text("clash", tmp_path, CLASH % "IP-CIDR,10.0.0.0/8,no-udp")
    assert 'no-udp: {type: socks5, server: "192.0.2.1:1080", udp: reject}' in text
    assert any(note.changed and "UDP is refused here" in note.why for note in found.notes)


def test_interfaces(tmp_path: Path) -> None:
    _, text = of_text("clash", tmp_path, CLASH % "OR,((DST-PORT,1)),tunnel\n  - MATCH,en")
    assert "tunnel: {type: vpn, interface: utun3}" in text
    assert "en: {type: direct, interface: en0}" in text
    assert "default: en\n" in text


def test_rules_one_after_the_other_become_one(tmp_path: Path) -> None:
    several = "IP-CIDR,10.0.0.0/8,s5\n  - IP-CIDR,10.0.0.0/8,s5\n  - IP-CIDR,11.0.0.0/8,s5"
    rules, _ = clash(tmp_path, several)
    assert rules == ["- {cidr: [10.0.0.0/8, 11.0.0.0/8], policy: s5}"]
    apart = "IP-CIDR,10.0.0.0/8,s5\n  - IP-CIDR,10.0.0.0/7,DIRECT\n  - IP-CIDR,11.0.0.0/8,s5"
    assert len(clash(tmp_path, apart)[0]) == 3


def test_names_of_others_end_no_comment(tmp_path: Path) -> None:
    text = 'rules:\n  - "IP-CIDR,10.0.0.0/8,x\\n  - {cidr: 0.0.0.0/0}\\u2028"\n  - MATCH,DIRECT\n'
    found, made = of_text("clash", tmp_path, text)
    assert len(loaded(tmp_path, made).rules) == 1
    assert all("\n" not in str(note) and "\u2028" not in str(note) for note in found.notes)


SING_BOX = '{"outbounds": [{"type": "direct"}, {"type": "direct", "tag": "d"}], "route": %s}'


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ('{"outbound": "d"}', "it has no condition"),
        ('{"ip_cidr": "10.0.0.0/8"}', "it names no outbound"),
        ('{"ip_cidr": "10.0.0.0/8", "action": "hijack-dns"}', "no action like 'hijack-dns'"),
        ('{"ip_cidr": "10.0.0.0/8", "action": "reject", "method": "x"}', "there is no method x"),
        ('{"ip_cidr": "10.0.0.0/99", "outbound": "d"}', "is over 32"),
        ('{"port_range": "x", "outbound": "d"}', "no port"),
        ('{"ip_version": 5, "outbound": "d"}', "neither 4 nor 6"),
        ('{"network": "sctp", "outbound": "d"}', "network: it is not known here"),
        ('{"frobnicate": 1, "outbound": "d"}', "frobnicate: it is not known here"),
        ('{"rule_set": "none", "outbound": "d"}', "no rule set of that tag"),
        ('{"domain": "x", "invert": true, "outbound": "d"}', "everything but"),
    ],
)
def test_rules_of_sing_box_that_are_not_taken_over(tmp_path: Path, rule: str, why: str) -> None:
    found, text = of_text("sing-box", tmp_path, SING_BOX % f'{{"rules": [{rule}]}}')
    assert "cidr" not in text
    assert any(why in note.why for note in found.notes), found.notes
    assert "default: bypass" in text, "the first outbound, which has no tag"


def test_a_rule_set_that_leads_back_to_itself(tmp_path: Path) -> None:
    text = (
        "rule-providers:\n  a: {type: inline, behavior: classical, payload: ['RULE-SET,a', "
        "'IP-CIDR,10.0.0.0/8']}\nrules:\n  - RULE-SET,a,REJECT\n"
    )
    found, made = of_text("clash", tmp_path, text)
    assert "{cidr: 10.0.0.0/8, policy: reject}" in made
    assert any("leads back to itself" in note.why for note in found.notes)


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "link", "a\0b", "none.yaml", "."])
def test_lists_are_read_from_below_the_configuration_alone(tmp_path: Path, path: str) -> None:
    directory = tmp_path / "config"
    directory.mkdir()
    (tmp_path / "secret").write_text("payload: ['10.0.0.0/8']\n")
    (directory / "link").symlink_to(tmp_path / "secret")
    written = path.replace("\0", "\\0")
    text = f'rule-providers: {{a: {{type: file, behavior: ipcidr, path: "{written}"}}}}\n'
    found, made = of_text("clash", directory, text + "rules: ['RULE-SET,a,REJECT']\n")
    assert "cidr" not in made
    assert [note.line for note in found.notes] == [2]


def test_surge_needs_a_final_rule(tmp_path: Path) -> None:
    found, text = of_text("surge", tmp_path, "[Rule]\nIP-CIDR,10.0.0.0/8,REJECT\n")
    assert "default: bypass" in text
    assert [note.what for note in found.notes] == ["no FINAL rule"]


def test_families_of_surge(tmp_path: Path) -> None:
    rules = "IP-CIDR,2001:db8::/32,REJECT\nIP-CIDR6,10.0.0.0/8,REJECT\nFINAL,DIRECT\n"
    found, text = of_text("surge", tmp_path, f"[Rule]\n{rules}")
    assert "cidr" not in text
    assert [note.line for note in found.notes] == [2, 3]


LISTS = [
    ("clash", "payload:\n  - 10.0.0.0/8\n  - '2001:db8::/32'\n"),
    ("clash", "[10.0.0.0/8, '2001:db8::/32']"),
    ("clash", '["10.0.0.0/8",\n "2001:db8::/32"]'),
    ("sing-box", '{"version": 1, "rules": [{"ip_cidr": ["10.0.0.0/8", "2001:db8::/32"]}]}'),
    ("sing-box", '["10.0.0.0/8", "2001:db8::/32"]'),
    ("surge", "; a comment\nIP-CIDR,10.0.0.0/8,no-resolve\n# b\nIP-CIDR6,2001:db8::/32 // c\n"),
    ("surge", "10.0.0.0 255.0.0.0 ; c\n2001:db8::/32\n// d\n"),
    ("surge", "10.0.0.0 - 10.255.255.255\n2001:db8::/32\n10.0.0.0/8\n"),
    ("surge", "\"10.0.0.0/8\",\n'2001:db8::/32'\n"),
]


@pytest.mark.parametrize(("program", "text"), LISTS)
def test_lists_alone_become_lists(tmp_path: Path, program: str, text: str) -> None:
    found, made = of_text(program, tmp_path, text)
    assert made == "10.0.0.0/8\n2001:db8::/32\n"
    assert not found.notes
