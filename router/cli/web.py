"""`tunrouter web`: the web process, in the foreground, for the router that runs or is to run."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from router.cli import exits
from router.config.listen import (
    LONGEST_TOKEN,
    MAKE_TOKEN,
    BadListenError,
    check_reach,
    parse_listen,
    token_fault,
)
from router.config.problems import quoted
from router.config.schema import DEFAULT_LISTEN
from router.control.web.launch import serve
from router.control.web.settings import Settings
from router.platform.log import log_to
from router.platform.reason import reason

log = logging.getLogger(__name__)


def web(tun: str | None, listen: str | None, token_file: Path | None) -> int:
    """Serve until interrupted; the exit status.

    tun: of the router, where several run. listen: address and port.
    """
    log_to(sys.stderr, os.environ)
    if os.geteuid() != 0:
        log.error("the control socket of the router is root's: run it by sudo")
        return exits.FAILED
    try:
        host, port = parse_listen(DEFAULT_LISTEN if listen is None else listen)
        check_reach(host, has_token=token_file is not None)
        token = None if token_file is None else _token(token_file)
    except BadListenError as error:
        log.error("%s: %s", error.message, error.remedy)  # noqa: TRY400 - for people
        return exits.BAD_RULES
    return serve(Settings(tun, host, port, token))


def _token(file: Path) -> str:
    """Raises BadListenError."""
    try:
        with file.open("rb") as opened:
            line = opened.readline(2 * LONGEST_TOKEN)
    except (OSError, ValueError) as error:
        message = f"the token file {quoted(str(file))} can't be read: {reason(error)}"
        raise BadListenError(message, "create it, or name another") from None
    token = line.rstrip(b"\r\n").decode("latin-1")
    fault = token_fault(token)
    if fault is not None:
        message = f"the token in {quoted(str(file))} {fault}"
        raise BadListenError(message, f"make another one, as by {MAKE_TOKEN}")
    return token
