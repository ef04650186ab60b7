"""The `web:` section.

Always true: an address that other machines can reach has a token.

Must not know: whether the address is one of this machine, or what the web process does.
"""

from __future__ import annotations

from router.config.fields import Entry, Findings, as_mapping, as_text, is_nothing, read_keys
from router.config.listen import (
    LONGEST_TOKEN,
    MAKE_TOKEN,
    BadListenError,
    check_reach,
    parse_listen,
    token_fault,
)
from router.config.model import Web
from router.config.schema import DEFAULT_LISTEN, WEB_KEYS
from router.config.secret_file import read_secret

SAMPLE = f'listen: "{DEFAULT_LISTEN}"'


def read_web(findings: Findings, entry: Entry | None) -> Web | None:
    """None where there is to be none, and after the report of an error."""
    if entry is None or is_nothing(entry.value):
        return None
    section = as_mapping(findings, entry.value, "'web'", f"'web: {{{SAMPLE}}}'")
    if section is None:
        return None
    keys = read_keys(findings, section, WEB_KEYS, "'web'")
    token = _token(findings, keys["token_file"]) if "token_file" in keys else None
    listen = DEFAULT_LISTEN
    if "listen" in keys:
        given = as_text(findings, keys["listen"].value, "'listen'", SAMPLE)
        if given is None:
            return None
        listen = given
    try:
        host, port = parse_listen(listen)
        check_reach(host, has_token="token_file" in keys)
    except BadListenError as error:
        findings.error("bad-listen", keys["listen"].value, error.message, error.remedy)
        return None
    return Web(host, port, token, findings.place(entry.key))


def _token(findings: Findings, entry: Entry) -> str | None:
    secret = read_secret(findings, entry, "token", 2 * LONGEST_TOKEN)
    if secret is None:
        return None
    token = secret.value.decode("latin-1")
    fault = token_fault(token) if secret.is_known else None
    if fault is not None:
        remedy = f"make another one, as by {MAKE_TOKEN}"
        findings.error("bad-token", entry.value, f"the token in the file {fault}", remedy)
    return token
