"""`tunrouter top` in a real terminal, with real traffic: its screens are kept as text in screens/,
with numbers masked; keys, sizes, colours, and a router that stops and comes back."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.terminal import DOWN, ENTER, ESCAPE, Terminal
from tests.e2e.testbed import V4, Testbed
from tests.e2e.top_bed import BACKED_UP, LOSSY, RULES, UPLOADED, traffic
from tests.e2e.tunrouter import PROGRAM, Tunrouter, running

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("busy")]

SCREENS = Path(__file__).with_name("screens")
COLOUR = re.compile(r"\x1b\[(?:[\d;]*;)?(?:3[0-8]|4[0-8]|9\d|10\d)[;m]")
MASKS = (
    (r"up .*", "up …"),
    (r"[▁▂▃▄▅▆▇█]+( +[▁▂▃▄▅▆▇█]+)*", "~"),
    (r" +", " "),
    (r"id \d+", "id #"),
    (r":\d{5}\b", ":#"),
    (r"(?<=\S )\d+(\.\d+)?[kMGs%]?(?= |$)", "#"),
    (r"(?<=# )-(?=$| answered)", "#"),
    (r" (multicast|icmp-type) # #$", ""),
    (r"─+", "─"),
)


@pytest.fixture(scope="module")
def busy(bed: Testbed, router: Tunrouter) -> Iterator[None]:
    with traffic(bed):
        yield


def opened(
    bed: Testbed, columns: int = 80, lines: int = 24, /, *options: str, **env: str
) -> Terminal:
    command = bed.router.command(PROGRAM, "top", "--interval", "0.3", *options)
    return Terminal(command, columns, lines, {"TZ": "UTC", **env})


def masked(text: str) -> str:
    """Numbers of a kind are alike, and so are the gaps between them."""
    for pattern, instead in MASKS:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40)])
def test_the_screen(bed: Testbed, columns: int, lines: int) -> None:
    kept = (SCREENS / f"top-{columns}x{lines}.txt").read_text(encoding="utf-8")
    with closing(opened(bed, columns, lines)) as terminal:
        shown = terminal.wait_for(lambda text: masked(text) == kept, f"the screen\n{kept}")
        assert terminal.lines[-1].startswith(" s  sort")
        assert len(shown.splitlines()) == lines
        terminal.press("q")
        assert terminal.end() == 0


def rate_of(text: str, address: str) -> float:
    """Of the line of a flow, what it sends in bytes a second."""
    found = re.search(rf"→ {re.escape(address)}:8080 .*?(\d+\.?\d*)k ", text)
    return float(found[1]) * 1000 if found else 0.0


def test_rates_and_losses_are_those_of_the_traffic(bed: Testbed) -> None:
    """Within what a busy machine does to a stream's rate."""
    with closing(opened(bed, 120, 40)) as terminal:
        terminal.wait_for(
            lambda text: 50_000 < rate_of(text, V4.far(BACKED_UP)) < 150_000, "its rate"
        )
        terminal.wait_for(
            lambda text: 200_000 < rate_of(text, V4.far(UPLOADED)) < 600_000, "its rate"
        )
        terminal.press(f"/host:{V4.far(LOSSY)}")
        terminal.wait_for(lambda text: "flows: 1 of" in text, "one flow")
        loss = re.compile(r"^home +\d+ +[\d.]+ +([\d.]+)%", re.MULTILINE)
        terminal.wait_for(
            lambda text: (found := loss.search(text)) and 0 < float(found[1]) < 25, "the loss"
        )


def test_keys(bed: Testbed) -> None:
    with closing(opened(bed)) as terminal:
        terminal.wait_for(lambda text: "out/s▾" in text and "flows: 6" in text, "the flows by rate")
        terminal.press("s")
        terminal.wait_for(lambda text: "flows: 6, by bytes" in text, "the flows by bytes")
        terminal.press("/policy:office")
        terminal.wait_for(lambda text: "flows: 2 of 6" in text, "the flows of a policy")
        terminal.press(ENTER)
        first = terminal.reversed_line
        assert f"→ {V4.far(BACKED_UP)}" in first
        terminal.press(DOWN)
        terminal.wait_for(lambda _: terminal.reversed_line not in ("", first), "the next flow")
        terminal.press("p")
        paused = terminal.wait_for(lambda text: "PAUSED" in text, "the pause")
        terminal.press("e")
        told = terminal.wait_for(
            lambda text: "kernel" in text and "e closes" in text, "the answer of explain"
        )
        assert "icmp" in told
        assert "forward: by wg0" in told
        terminal.press("e")
        terminal.wait_for(lambda text: text == paused, "the screen that was paused")
        terminal.press("p")
        terminal.wait_for(lambda text: "PAUSED" not in text, "the end of the pause")
        terminal.press(ESCAPE)
        terminal.wait_for(lambda text: "flows: 6, by" in text, "all flows")
        terminal.press("\x03")
        assert terminal.end() == 0


@pytest.mark.parametrize("exported", [{}, {"COLUMNS": "80", "LINES": "24"}], ids=["", "exported"])
def test_other_sizes(bed: Testbed, exported: dict[str, str]) -> None:
    """The terminal's size counts, not one that a shell has exported."""
    with closing(opened(bed, **exported)) as terminal:
        terminal.wait_for(lambda text: "state" not in text and "→" in text, "the screen")
        for columns, lines in ((132, 43), (80, 24), (40, 10), (100, 30)):
            terminal.resize(columns, lines)

            def fits(_: str, columns: int = columns) -> bool:
                shown = terminal.lines
                heading = next((line for line in shown if line.startswith("─ flows")), "")
                return shown[-1].startswith(" s  sort") and len(heading) == columns

            terminal.wait_for(fits, f"a screen of {columns} columns and {lines} lines")
        assert terminal.end(signal.SIGTERM) == 0
        assert terminal.written.endswith("\x1b[?1049l") or "\x1b[?1049l" in terminal.written[-400:]


def test_without_colours(bed: Testbed) -> None:
    with closing(opened(bed)) as coloured:
        coloured.wait_for(lambda text: "▇" in text or "█" in text, "sparklines")
        assert COLOUR.search(coloured.written)
    with closing(opened(bed, NO_COLOR="1")) as plain:
        plain.wait_for(lambda text: "▇" in text or "█" in text, "sparklines")
        assert "down: there is no interface wg7; reject applies" in plain.text
        assert "→" in plain.reversed_line
        plain.press("e")
        plain.wait_for(lambda text: "e closes" in text, "the explanation")
        assert not COLOUR.search(plain.written)


def test_what_is_no_such_terminal(bed: Testbed) -> None:
    with closing(opened(bed, TERM="dumb")) as dumb:
        assert dumb.end() == 1
        assert (
            "the terminal cannot move its cursor (TERM is dumb): `tunrouter status`"
            in dumb.text.replace("\n", "")
        )
    piped = bed.router.run(PROGRAM, "top", check=False)
    assert (piped.returncode, piped.stdout) == (1, "")
    assert piped.stderr.startswith("tunrouter top: this is no terminal: `tunrouter status`")


def test_a_router_that_stops_and_comes_back(
    bed: Testbed, router: Tunrouter, tmp_path: Path
) -> None:
    """The last of this file: the router of the others ends."""
    with closing(opened(bed, 120, 30)) as terminal:
        terminal.wait_for(lambda text: f"pid {router.pid}" in text, "the router")
        assert router.stop().exit_code == 0
        gone = "NO ANSWER: no router is running here"
        terminal.wait_for(lambda text: gone in text and "→" in text, "that it has stopped")
        with running(bed.router, tmp_path, RULES) as other:
            again = f"pid {other.pid} (was {router.pid})"
            terminal.wait_for(lambda text: again in text and gone not in text, "the other router")
            terminal.wait_for(lambda text: "▇" in text or "█" in text, "rates of the other")
        terminal.press("q")
        assert terminal.end() == 0
    closed = Terminal(bed.router.command(PROGRAM, "top"), 80, 24)
    with closing(closed):
        assert closed.end() == 1
        assert "tunrouter top: no router is running here: start one with" in closed.text
