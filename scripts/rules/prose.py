"""What the reference of rules.yaml says beside what its schema says, in Markdown."""

from __future__ import annotations

from typing import Final

HEAD: Final = """\
# rules.yaml

One file says which addresses leave this machine by which outbound. Where `-c` does not name it, it
is `./rules.yaml`, then `/etc/tunrouter/rules.yaml`. `tunrouter check` shows every problem with its
place. `tunrouter schema` prints the JSON Schema that this page is made from; the first line of a
file can tell editors with a YAML language server where it is:

```yaml
# yaml-language-server: $schema=rules.schema.json
```

Unknown keys are errors, with the nearest known one. IPv4 and IPv6 are equals everywhere.
"""

PROSE: Final = {
    "policies: an interface": (
        "`direct` is for an interface that is always there, `vpn` for one that comes and goes; "
        "both bind to it alike. A policy whose interface is missing is *down*: its `on_down` "
        "applies, and it comes up by itself. Traffic never falls to another outbound unless "
        "`on_down` names one.\n\n"
        "Built in, and to be named without a definition: `reply` answers echo requests itself and "
        "refuses the rest, `drop` is silence, `reject` refuses at once (a reset, or ICMP "
        "administratively prohibited), `bypass` leaves it to the system's own routes, past the TUN."
    ),
    "policies: a SOCKS5 proxy": (
        "A proxy that does not answer is *down*, as an interface that is missing. What a proxy "
        "cannot carry is in [limits](limits.md)."
    ),
    "rules": (
        "The first rule that matches decides, from top to bottom. A rule needs `cidr` or `file`, "
        "or both; where it has `protocol` or `port` as well, all must match."
    ),
    "web": "See [the web page](web.md).",
}
