"""The control client: the choice of a router, and the errors when none answers."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.control import client
from router.control.client import NoAnswerError, find_router, follow, request


class Routers:
    """Listening sockets in a directory, like those of routers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._listeners: dict[str, socket.socket] = {}
        self._threads: list[threading.Thread] = []

    def sockets(self) -> dict[str, Path]:
        return {path.stem: path for path in sorted(self._directory.glob("*.sock"))}

    def run(self, name: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._directory / f"{name}.sock"))
        listener.listen()
        self._listeners[name] = listener
        return listener

    def serve(self, name: str, behave: Callable[[socket.socket], None]) -> Path:
        listener = self.run(name)

        def once() -> None:
            connection, _ = listener.accept()
            with connection:
                behave(connection)

        thread = threading.Thread(target=once)
        thread.start()
        self._threads.append(thread)
        return self._directory / f"{name}.sock"

    def kill(self, name: str) -> None:
        self._listeners[name].close()

    def close(self) -> None:
        for thread in self._threads:
            thread.join()
        for listener in self._listeners.values():
            listener.close()


@pytest.fixture
def routers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Routers]:
    routers = Routers(tmp_path)
    monkeypatch.setattr(client, "control_sockets", routers.sockets)
    yield routers
    routers.close()


def test_the_only_router_needs_no_name(routers: Routers) -> None:
    routers.run("tun11")
    assert find_router(None).name == find_router("tun11").name == "tun11.sock"


def test_no_router(routers: Routers) -> None:
    for tun in (None, "tun11"):
        with pytest.raises(NoAnswerError, match="no router is running here: start one with sudo"):
            find_router(tun)


def test_several_routers_are_named(routers: Routers) -> None:
    for name in ("tun0", "tun11", "tun7"):
        routers.run(name)
    with pytest.raises(NoAnswerError, match="running, tun0, tun11, tun7: say which by --tun NAME"):
        find_router(None)
    assert find_router("tun7").name == "tun7.sock"
    with pytest.raises(NoAnswerError, match="with the TUN tun8; running: tun0, tun11, tun7"):
        find_router("tun8")


def test_killed_routers_are_skipped(routers: Routers) -> None:
    routers.run("tun0")
    routers.run("tun11")
    routers.kill("tun0")
    assert find_router(None).name == "tun11.sock"
    routers.kill("tun11")
    with pytest.raises(NoAnswerError, match="no router is running"):
        find_router(None)


def test_the_only_router_was_killed(routers: Routers) -> None:
    routers.run("tun0")
    routers.kill("tun0")
    with pytest.raises(NoAnswerError, match="no router is running"):
        request(find_router(None), {"command": "status"})


def test_request_and_answer(routers: Routers) -> None:
    def behave(connection: socket.socket) -> None:
        request = json.loads(connection.recv(4096))
        connection.sendall(json.dumps({"request": request, "long": "x" * 500_000}).encode())

    answer = request(routers.serve("tun0", behave), {"command": "status"})
    assert (answer["request"], len(answer["long"])) == ({"command": "status"}, 500_000)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b'{"error": "say please"}\n', "^say please$"),
        (b'{"pid": 1, "rules": [', "ended while it answered: try again"),
        (b"", "ended while it answered: try again"),
        (b"[]\n", "of another version"),
    ],
)
def test_invalid_answers(routers: Routers, sent: bytes, why: str) -> None:
    path = routers.serve("tun0", lambda connection: connection.sendall(sent))
    with pytest.raises(NoAnswerError, match=why):
        request(path, {"command": "status"})


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\r\b\x7f\x00"


def sent_as(form: str) -> bytes:
    answer = {"text": f"one\n\ttwo{HOSTILE}", HOSTILE: [{"deep": [HOSTILE]}], "zürich": 1}
    return json.dumps(answer, ensure_ascii=form == "ascii").encode()


@pytest.mark.parametrize("form", ["ascii", "utf-8"])
def test_no_answer_commands_the_terminal(routers: Routers, form: str) -> None:
    """The router may have been taken over."""
    path = routers.serve("tun0", lambda connection: connection.sendall(sent_as(form)))
    answer = request(path, {"command": "status"})
    assert answer["zürich"] == 1
    assert answer["text"].startswith("one\n\ttwo\N{REPLACEMENT CHARACTER}]0;title")
    assert str(answer).replace("\\n\\t", "").isprintable()
    assert "\\x" not in str(answer)
    assert "\\u" not in str(answer)


def test_a_refusal_commands_no_terminal_either(routers: Routers) -> None:
    refused = json.dumps({"error": HOSTILE}).encode()
    path = routers.serve("tun0", lambda connection: connection.sendall(refused))
    with pytest.raises(NoAnswerError) as raised:
        request(path, {"command": "status"})
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_answers_in_other_encodings_are_none(routers: Routers, encoding: str) -> None:
    sent = json.dumps({"text": HOSTILE}).encode(encoding)
    path = routers.serve("tun0", lambda connection: connection.sendall(sent))
    with pytest.raises(NoAnswerError, match="ended while it answered"):
        request(path, {"command": "status"})


def test_an_answer_that_is_nested_too_deeply(routers: Routers) -> None:
    sent = b'{"a":' * 50_000 + b'"\\u001b"' + b"}" * 50_000
    path = routers.serve("tun0", lambda connection: connection.sendall(sent))
    with pytest.raises(NoAnswerError, match="ended while it answered"):
        request(path, {"command": "status"})


def test_an_answer_without_end(routers: Routers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that comes line by line fill the memory."""
    monkeypatch.setattr(client, "LONGEST_ANSWER", 100_000)
    monkeypatch.setattr(client, "LONGEST_LINE", 100_000)

    def behave(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x" * 10_000)

    with pytest.raises(NoAnswerError, match="sends without end"):
        request(routers.serve("tun0", behave), {"command": "status"})
    with pytest.raises(NoAnswerError, match="sends without end"):
        next(follow(routers.serve("tun1", behave), {"command": "events"}))
    with (
        client.following(routers.serve("tun2", behave), {"command": "trace"}) as follower,
        pytest.raises(NoAnswerError, match="sends without end"),
    ):
        while True:
            assert follower.read() == []


def test_an_older_router_is_named(routers: Routers) -> None:
    unknown = b'{"error": "there is no command \\"flows\\"; this router has: reload, status"}\n'
    path = routers.serve("tun0", lambda connection: connection.sendall(unknown))
    with pytest.raises(NoAnswerError, match=r"reload, status; the router .* restart it$"):
        request(path, {"command": "flows", "version": 2})


def test_a_router_of_the_same_version_says_what_is_wrong(routers: Routers) -> None:
    refused = b'{"error": "there is no policy", "version": 2}\n'
    path = routers.serve("tun0", lambda connection: connection.sendall(refused))
    with pytest.raises(NoAnswerError, match=r"^there is no policy$"):
        request(path, {"command": "flows", "version": 2})


def test_following(routers: Routers) -> None:
    def behave(connection: socket.socket) -> None:
        assert json.loads(connection.recv(4096)) == {"command": "events", "version": 2}
        for line in (b'{"number": 1}\n{"lo', b'st": 2}\n', b'{"error": "no more"}\n'):
            connection.sendall(line)

    lines = follow(routers.serve("tun0", behave), {"command": "events", "version": 2})
    assert [next(lines), next(lines)] == [{"number": 1}, {"lost": 2}]
    with pytest.raises(NoAnswerError, match="no more"):
        next(lines)


def test_following_a_router_that_ends(routers: Routers) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b'{"number": 1}\n{"nu')

    path = routers.serve("tun0", behave)
    lines = follow(path, {"command": "events", "version": 2})
    assert next(lines) == {"number": 1}
    with pytest.raises(NoAnswerError, match="ended while it answered"):
        next(lines)


def test_following_where_none_runs(routers: Routers) -> None:
    routers.run("tun0")
    routers.kill("tun0")
    with pytest.raises(NoAnswerError, match="no router is running"):
        next(follow(find_router("tun0"), {"command": "events"}))


def test_a_refusal_before_the_request_was_read(routers: Routers) -> None:
    path = routers.serve("tun0", lambda connection: connection.sendall(b'{"error": "full"}\n'))
    with pytest.raises(NoAnswerError, match=r"^full$"):
        request(path, {"command": "x" * 2_000_000})


def test_a_timeout_is_an_error(routers: Routers) -> None:
    done = threading.Event()

    def behave(_connection: socket.socket) -> None:
        done.wait()

    path = routers.serve("tun0", behave)
    try:
        with pytest.raises(NoAnswerError, match=r"does not answer .*waited 0\.01 s"):
            request(path, {"command": "status"}, patience=0.01)
    finally:
        done.set()


def test_permission_denied_names_sudo(routers: Routers, monkeypatch: pytest.MonkeyPatch) -> None:
    routers.run("tun0")

    class Refused(socket.socket):
        def connect(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Refused)
    with pytest.raises(
        NoAnswerError, match="only root may use the control socket: put sudo before the command"
    ):
        request(find_router(None), {"command": "status"})
