"""The two processes of the web process: the connector, and its child, the server.

Always true: everything is imported and read before rights are given up, since only its owner may be
allowed to read a checkout; a server whose connector is gone ends, and so does a connector whose
server is gone; no request is read before the rights are given up.

Must not know: who starts it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from router.control.web.connector import Connections, connector_channel, serve_connections
from router.control.web.installed import not_installed
from router.control.web.settings import Settings
from router.platform import confine_connector, confine_server
from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.platform.reason import reason

log = logging.getLogger(__name__)

ENDING: Final = (signal.SIGINT, signal.SIGTERM)


def serve(settings: Settings, ends: Sequence[HasFileno | int] = ()) -> int:
    """Serve until a signal, or until one of `ends` is readable; the exit status."""
    lacking = not_installed()
    if lacking is not None:
        log.error("%s", lacking)
        return 1
    ours, theirs = connector_channel()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        ours.close()
        _be_server(settings, theirs)
    theirs.close()
    signalled, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    for number in ENDING:
        signal.signal(number, lambda *_: None)
    try:
        confine_connector()
        serve_connections(ours, settings.tun, [signalled, *ends])
    except PlatformError as error:
        log.error("%s", error)  # noqa: TRY400 - for people
    ours.close()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _be_server(settings: Settings, channel: socket.socket) -> NoReturn:
    status = 1
    try:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)  # the connector ends it
        status = _served(settings, channel)
    except (PlatformError, OSError) as error:
        log.error("the web page cannot be served: %s", reason(error))  # noqa: TRY400 - for people
    finally:
        sys.stderr.flush()
        os._exit(status)


def _served(settings: Settings, channel: socket.socket) -> int:
    import asyncio  # noqa: PLC0415 - only in the server: below too

    from router.control.web.access import names_of_this_machine  # noqa: PLC0415
    from router.control.web.answers import Answers  # noqa: PLC0415
    from router.control.web.app import application  # noqa: PLC0415
    from router.control.web.server import BadAddressError, bound_socket, http_server  # noqa: PLC0415

    def ended() -> None:
        server.should_exit = True

    connections = Connections(channel, ended)
    app = application(Answers(connections), settings.token, names_of_this_machine())
    server = http_server(app)
    try:
        with confine_server():
            listener = bound_socket(settings.host, settings.port)
    except BadAddressError as error:
        log.error("%s", error)  # noqa: TRY400 - for people
        return 1
    log.info("web page: %s%s", settings.url, " (with a token)" if settings.token else "")

    async def run() -> None:
        connections.start()
        await server.serve(sockets=[listener])

    asyncio.run(run())
    return 0
