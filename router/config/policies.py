"""The `policies:` section: the named outbounds.

Always true: a policy that was reported still counts as known by its name, so that the rules that
name it are not reported as well. `on_down` may name reject, drop or another policy. It may not
name reply, which would answer for a host that can't be reached, nor bypass, which takes effect
before a packet enters the TUN and so can't be chosen once it is inside.

Must not know: which interfaces there are; what the policies lead to together (policy_links).
"""

from __future__ import annotations

from router.config.document import Mapping, Scalar
from router.config.fields import (
    Entry,
    Findings,
    as_mapping,
    as_text,
    is_nothing,
    listed,
    missing_key,
    named_entries,
    read_keys,
)
from router.config.interfaces import MAXIMUM_ALTERNATIVE_NAME, interface_fault
from router.config.model import BUILT_IN, Path, Place, Policy, PolicyType
from router.config.policy_table import PolicyTable
from router.config.problems import quoted
from router.config.schema import (
    BUILT_IN_POLICIES,
    DEFAULT_ON_DOWN,
    NOT_ON_DOWN,
    NOT_POLICY_NAME,
    PATHS,
    POLICY_KEYS,
    POLICY_NAME,
    POLICY_TYPES,
    SOCKS5_KEYS,
)
from router.config.socks5 import read_proxy, refuse_password
from router.config.spelling import nearest


def read_policies(findings: Findings, entry: Entry | None) -> PolicyTable:
    """All policies, the built-in ones first. `on_down` is checked once all names are known."""
    table = PolicyTable({kind.value: Policy(kind.value, kind) for kind in BUILT_IN})
    if entry is None or is_nothing(entry.value):
        return table
    sample = "'policies: {home: {type: direct, interface: default}}'"
    section = as_mapping(findings, entry.value, "'policies'", sample)
    if section is None:
        table.readable = False
        return table
    definitions = named_entries(findings, section)
    table.names = {name: definition.key for name, definition in definitions}
    for name, definition in definitions:
        policy = _policy(findings, table, name, definition)
        if policy is not None and name not in BUILT_IN_POLICIES:
            table.policies[name] = policy
    return table


def _policy(findings: Findings, table: PolicyTable, name: str, entry: Entry) -> Policy | None:
    _check_name(findings, name, entry.key)
    sample = f"'{name[:20]}: {{type: direct, interface: default}}'"
    section = as_mapping(findings, entry.value, f"the policy {quoted(name)}", sample)
    if section is None:
        return None
    if refuse_password(findings, section, name):
        return None
    if _is_socks5(section):
        return _socks5(findings, table, name, entry, section)
    keys = read_keys(findings, section, POLICY_KEYS, f"the policy {quoted(name)}")
    policy_type = _type(findings, keys.get("type"), entry.key, name, "type: direct")
    interface, interface_place = _interface(findings, keys.get("interface"), entry.key, name)
    on_down, on_down_place = _on_down(findings, table, keys.get("on_down"))
    path = _path(findings, keys.get("path"))
    return Policy(
        name,
        policy_type or PolicyType.DIRECT,
        findings.place(entry.key),
        interface,
        interface_place,
        on_down,
        on_down_place,
        path,
    )


def _socks5(
    findings: Findings, table: PolicyTable, name: str, entry: Entry, section: Mapping
) -> Policy | None:
    keys = read_keys(findings, section, SOCKS5_KEYS, f"the policy {quoted(name)}")
    _type(findings, keys.get("type"), entry.key, name, "type: socks5")
    on_down, on_down_place = _on_down(findings, table, keys.get("on_down"))
    return Policy(
        name,
        PolicyType.SOCKS5,
        findings.place(entry.key),
        on_down=on_down,
        on_down_place=on_down_place,
        proxy=read_proxy(findings, table.refer, keys, entry.key, name),
    )


def _is_socks5(section: Mapping) -> bool:
    """Whether its keys are those of a SOCKS5 proxy: of that type, or of none that there is and with
    a server, so that a mistyped type is the one error."""
    written = {key.text: value for key, value in section.entries() if isinstance(key, Scalar)}
    kind = written.get("type")
    if isinstance(kind, Scalar) and kind.text in POLICY_TYPES:
        return kind.text == PolicyType.SOCKS5
    return "server" in written


def _check_name(findings: Findings, name: str, key: Scalar) -> None:
    if name in BUILT_IN_POLICIES:
        findings.error(
            "reserved-policy-name",
            key,
            f"{quoted(name)} is built in and can't be redefined",
            "give this policy another name",
        )
    elif not POLICY_NAME.fullmatch(name) or NOT_POLICY_NAME.fullmatch(name):
        findings.error(
            "bad-policy-name",
            key,
            f"{quoted(name)} can't be the name of a policy",
            "begin with a letter, then letters, digits, '_', '.' or '-', 64 at most; "
            "true, false and null mean something else in YAML",
        )


def _type(
    findings: Findings, entry: Entry | None, owner: Scalar, name: str, sample: str
) -> PolicyType | None:
    if entry is None:
        missing_key(findings, owner, "type", f"the policy {quoted(name)}", sample)
        return None
    text = as_text(findings, entry.value, "'type'", sample)
    if text is None or text in POLICY_TYPES:
        return PolicyType(text) if text else None
    close = nearest(text, POLICY_TYPES)
    if text in BUILT_IN_POLICIES:
        remedy = f"rules can name '{text}' directly: leave this policy out"
    else:
        hint = f"did you mean '{close}'? " if close else ""
        remedy = f"{hint}the types are {listed(POLICY_TYPES)}"
    findings.error("unknown-policy-type", entry.value, f"there is no type {quoted(text)}", remedy)
    return None


def _interface(
    findings: Findings, entry: Entry | None, owner: Scalar, name: str
) -> tuple[str | None, Place | None]:
    if entry is None:
        called = f"the policy {quoted(name)}"
        missing_key(findings, owner, "interface", called, "interface: default")
        return None, None
    interface = as_text(findings, entry.value, "'interface'", "interface: eth0")
    if interface is None:
        return None, None
    fault = interface_fault(interface, MAXIMUM_ALTERNATIVE_NAME)
    if fault is not None:
        findings.error(
            "bad-interface-name",
            entry.value,
            f"the interface name {quoted(interface)} {fault}",
            "write the name as the system shows it ('ip link', 'ifconfig'), or 'default'",
        )
    return interface, findings.place(entry.value)


def _on_down(
    findings: Findings, table: PolicyTable, entry: Entry | None
) -> tuple[str, Place | None]:
    if entry is None:
        return DEFAULT_ON_DOWN, None
    node = entry.value
    if isinstance(node, Scalar) and node.text in NOT_ON_DOWN:
        findings.error(
            "bad-on-down",
            node,
            f"'on_down' can't be {quoted(node.text)}: the packets are in the TUN already",
            "write reject, drop, or the name of a policy, such as one with 'interface: default'",
        )
        return DEFAULT_ON_DOWN, None
    name = table.refer(findings, node, "on_down")
    return name or DEFAULT_ON_DOWN, findings.place(node)


def _path(findings: Findings, entry: Entry | None) -> Path:
    if entry is None:
        return Path.AUTO
    text = as_text(findings, entry.value, "'path'", "path: relay")
    if text is None or text in PATHS:
        return Path(text) if text else Path.AUTO
    close = nearest(text, PATHS)
    hint = f"did you mean '{close}'? " if close else ""
    findings.error(
        "unknown-path",
        entry.value,
        f"there is no path {quoted(text)}",
        f"{hint}the paths are {listed(PATHS)}; leave the key out for auto",
    )
    return Path.AUTO
