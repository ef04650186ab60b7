"""The keys, by textual's Pilot, and the start where there is no terminal or no router."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from router.cli.top import explanation
from router.cli.top.command import top, unfit_terminal
from router.cli.top.model import Model, Snapshot
from router.cli.top.screen import FOREIGN, Board, Top
from router.cli.top.source import Take
from tests.unit.cli.top.cases import HOSTILE, flow, policy, status

FLOWS = [
    flow(1, out=300, rtt_ms=1),
    flow(2, out=200, rtt_ms=9, policy="office"),
    flow(3, "icmp", out=100),
]


def snapshot(uptime: float = 1.0, **more: Any) -> Snapshot:
    answer = status(uptime, {"home": policy(), "office": policy("wg0")}, **more)
    return Snapshot(uptime, answer, FLOWS, [])


def driven(
    drive: Callable[[Top, Pilot[None]], Awaitable[None]],
    *,
    colours: bool = True,
    start: Callable[[Take], None] = lambda _: None,
) -> Top:
    app = Top(Model(), snapshot(), start, colours=colours)

    async def run() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await drive(app, pilot)

    asyncio.run(run())
    return app


def text(app: Top) -> list[str]:
    board = app.query_one(Board)
    return [board.render_line(y).text.rstrip() for y in range(board.size.height)]


def flow_lines(app: Top) -> list[int]:
    """Of the flows on the screen, the host."""
    return [int(line.split("198.51.100.")[1][0]) for line in text(app) if "→ 198.51." in line]


def test_sort_and_filter() -> None:
    async def drive(app: Top, pilot: Pilot[None]) -> None:
        assert flow_lines(app) == [1, 2, 3]
        await pilot.press("s", "s")
        assert ("by rtt" in text(app)[4], flow_lines(app)) == (True, [2, 1, 3])
        await pilot.press("slash", *"policy:off")
        assert text(app)[-1].startswith(" filter: policy:off")
        assert flow_lines(app) == []
        await pilot.press(*"ice", "enter")
        assert flow_lines(app) == [2]
        assert text(app)[-1].startswith(" s  sort")
        await pilot.press("escape")
        assert flow_lines(app) == [2, 1, 3]
        await pilot.press("slash", *"tcpx", "backspace")
        assert flow_lines(app) == [2, 1]
        await pilot.press("ctrl+u")
        assert flow_lines(app) == [2, 1, 3]
        await pilot.press("q", "escape")
        assert flow_lines(app) == [2, 1, 3], "q was typed, and does not quit"

    driven(drive)


def test_the_first_reading_is_taken_however_soon_it_comes() -> None:
    """Readings begin when they can be taken, however long the screen took until then."""
    taken = threading.Event()

    def start(take: Take) -> None:
        def read() -> None:
            take(snapshot(60.0))
            taken.set()

        threading.Thread(target=read).start()

    async def drive(app: Top, _pilot: Pilot[None]) -> None:
        assert await asyncio.to_thread(taken.wait, 20)
        assert "up 1 min 0 s" in text(app)[0]

    driven(drive, start=start)


def test_pause_keeps_the_screen_and_not_the_history() -> None:
    async def drive(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        assert "PAUSED" in text(app)[0]
        before = text(app)
        app.take(snapshot(2.0))
        app.take(snapshot(60.0))
        assert text(app) == before
        await pilot.press("p")
        assert "up 1 min 0 s" in text(app)[0]
        assert len(app.view.policies[0].history) == 2

    driven(drive)


def test_explain_the_flow_under_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    async def explained(*arguments: str) -> str:
        asked.append(arguments)
        return f"  rule     1 {HOSTILE}"

    monkeypatch.setattr(explanation, "explained", explained)

    async def drive(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("down", "e")
        await pilot.pause()
        assert isinstance(app.screen, explanation.Explanation)
        shown = app.export_screenshot()
        assert "office" in shown
        assert "\x1b" not in shown
        await pilot.press("escape")
        assert not isinstance(app.screen, explanation.Explanation)
        assert len(asked) == 1
        assert asked[0][:2] == ("explain", "198.51.100.2")

    driven(drive)


def test_trouble_is_shown_and_ends() -> None:
    async def drive(app: Top, pilot: Pilot[None]) -> None:
        app.take("no router is running here")
        assert "NO ANSWER: no router is running here" in text(app)[0]
        assert flow_lines(app) == [1, 2, 3]
        app.take(Snapshot(3.0, {"pid": 1, "uptime_s": 3}, [], []))
        assert f"NO ANSWER: {FOREIGN}"[:30] in text(app)[0]
        app.take(snapshot(1.0, **{"pid": 4712}))
        assert "pid 4712 (was 4711)" in text(app)[0]
        assert "NO ANSWER" not in text(app)[0]

    driven(drive)


def test_quit_and_resize() -> None:
    async def drive(app: Top, pilot: Pilot[None]) -> None:
        for size in ((120, 40), (30, 8), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert len(text(app)) == size[1]
            assert text(app)[-1].startswith(" s  sort")
        await pilot.press("q")

    assert driven(drive).return_code == 0


def test_without_colours() -> None:
    async def drive(app: Top, pilot: Pilot[None]) -> None:
        board = app.query_one(Board)
        for y in range(24):
            for line in board.render_line(y).apply_filter(
                app.get_line_filters()[-1], app.styles.background
            ):
                style = line.style
                assert style is None or (style.color is None and style.bgcolor is None)

    driven(drive, colours=False)


@pytest.mark.parametrize(
    ("term", "why"), [("dumb", "(TERM is dumb)"), ("", "(TERM is not set)"), ("unknown", "unknown")]
)
def test_terminals_that_are_none(monkeypatch: pytest.MonkeyPatch, term: str, why: str) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(getattr(sys, name), "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", term)
    assert why in str(unfit_terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert unfit_terminal() is None


def test_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert top(None, 1.0) == 1
    assert capsys.readouterr().err.startswith("tunrouter top: this is no terminal: `tunrouter st")
