"""`tunrouter init`: a first rules.yaml for this machine.

Always true: it changes nothing but the one new file.
"""

from __future__ import annotations

import os
import shlex
import sys

from router.cli import exits, invocation
from router.cli.new_file import STANDARD_OUTPUT, NotWrittenError, write_new
from router.config.environment_proxy import proxy_of
from router.platform import present_network
from router.policy.first_rules import first_rules


def init(output: str) -> int:
    """Write the file, or standard output for `-`; the exit status."""
    network = present_network()
    if not network.readable:
        print(
            f"tunrouter init: {', '.join(network.unread)}: begin with rules.example.yaml instead",
            file=sys.stderr,
        )
        return exits.FAILED
    try:
        write_new(output, first_rules(network, proxy_of(os.environ)))
    except NotWrittenError as error:
        print(f"tunrouter init: {error}", file=sys.stderr)
        return exits.FAILED
    if output != STANDARD_OUTPUT:
        _print_what_follows(output)
    return exits.OK


def _print_what_follows(output: str) -> None:
    by_user = invocation.by_user(sys.argv[0])
    by_root = invocation.by_root(sys.argv[0], is_root=os.geteuid() == 0)
    print(f"wrote {output}: take the '# ' away before the rules that are to hold, then")
    print(f"  {by_user} check -c {shlex.quote(output)}")
    print(f"  {by_root} run -c {shlex.quote(output)}")
