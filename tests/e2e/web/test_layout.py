"""The page in Chromium with names, addresses and numbers of rules that take much room: in every
layout nothing is cut, covered, or wider than its place. Nothing of it needs root or a router."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.e2e.wait import wait_until
from tests.web.chromium import chromium, emulate
from tests.web.sample import SampleAnswers
from tests.web.screenshots import sample_page

LONG: Final = "a-policy-whose-name-is-longer-than-most-lines-have-room-for"
MARKUP: Final = "<img src=x onerror=document.title=1>"
SOURCE: Final = "2001:db8:1111:2222:3333:4444:5555:6666"
EVENTS: Final[tuple[Mapping[str, Any], ...]] = (
    {"event": "policy", "policy": MARKUP, "state": "up", "interface": MARKUP},
    {"event": "policy", "policy": MARKUP, "state": "down", "why": MARKUP, "applies": MARKUP},
    {"event": "reload", "reloaded": False, "summary": MARKUP},
    {"event": "conflict", "what": MARKUP},
    {"event": "router", "state": "gone", "why": MARKUP},
    {"event": MARKUP},
)
"""Markup as all text of every kind of event."""
DAY_S: Final = 86_400
LAYOUTS: Final = (
    (1360, "light", False),
    (1024, "dark", False),
    (768, "light", False),
    (375, "dark", True),
    (320, "light", True),
)
OUTSIDE: Final = """
const found = [];
for (const svg of document.querySelectorAll("#diagram svg, #plots svg")) {
  const whole = svg.getBoundingClientRect();
  const boxes = [...svg.querySelectorAll("text")]
    .map((text) => [text, text.getBoundingClientRect()]);
  for (const [text, box] of boxes) {
    if (box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 1
        || box.bottom > whole.bottom + 1) found.push(`outside: ${text.textContent}`);
    for (const [other, place] of boxes) {
      if (text !== other && box.left < place.right - 1 && place.left < box.right - 1
          && box.top < place.bottom - 4 && place.top < box.bottom - 4)
        found.push(`${text.textContent} covers ${other.textContent}`);
    }
  }
}
return found;
"""
"""Boxes of lines have room above and below their letters: these may touch."""
WIDER: Final = """
return [...document.querySelectorAll("html, section, .scroll, #plots, figure, #answer")]
  .filter((each) => each.scrollWidth > each.clientWidth + 1)
  .map((each) => `${each.tagName}#${each.id} ${each.scrollWidth} > ${each.clientWidth}`);
"""


class Roomy(SampleAnswers):
    """200 rules more, one policy with a long name, flows of long addresses, and markup in text."""

    async def status(self, age: float = 0.0) -> dict[str, Any]:
        status = await super().status(age)
        policies = {**status["policies"], LONG: status["policies"]["office"]}
        policies["berlin"] = {**status["policies"]["lab"], "applies": LONG}
        text = f'{{cidr: "{SOURCE}", policy: {LONG}}}'
        more = [
            {"index": n, "line": n, "policy": LONG, "packets": 0, "flows": 0, "text": text}
            for n in range(10, 210)
        ]
        more[0] |= {"policy": MARKUP, "text": MARKUP}
        policies["lab"] = {**policies["lab"], "interface": MARKUP, "why_down": MARKUP}
        return {**status, "policies": policies, "rules": [*status["rules"], *more]}

    async def flows(self, age: float = 0.0) -> dict[str, Any]:
        answer = await super().flows(age)
        first = answer["flows"][0]
        long = {**first, "source": SOURCE, "destination": SOURCE, "policy": LONG, "bytes_in": 9**12}
        return {**answer, "flows": [long, *answer["flows"]]}

    async def explain(self, question: Mapping[str, Any]) -> dict[str, Any]:
        return {"text": f"{MARKUP}\n  {MARKUP[:4]} {MARKUP}\n", "answers": []}

    async def events(self, reached: Callable[[], None]) -> AsyncIterator[dict[str, Any]]:
        for number, event in enumerate(EVENTS):
            yield {"time": time.time() - DAY_S + number, **event}
        async for event in super().events(reached):
            yield event


@pytest.fixture(scope="module")
def page() -> Iterator[Chrome]:
    with sample_page(Roomy()) as url, chromium() as browser:
        browser.get(url)
        wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, "#plots svg"), "the plots")
        wait_until(lambda: "B/s" in text(browser, "diagram"), "rates")
        yield browser


def text(page: Chrome, name: str) -> str:
    return page.find_element(By.ID, name).text


@pytest.mark.parametrize(("width", "scheme", "is_phone"), LAYOUTS)
def test_everything_has_room(page: Chrome, width: int, scheme: str, is_phone: bool) -> None:
    emulate(page, width, 900, scheme=scheme, mobile=is_phone)

    def is_drawn_anew() -> bool:
        drawn = page.execute_script(
            "const svg = document.querySelector('#diagram svg');"
            "return [svg.viewBox.baseVal.width, svg.clientWidth];"
        )
        return bool(abs(drawn[0] - drawn[1]) <= 1)

    wait_until(is_drawn_anew, "the diagram in this width")
    assert page.execute_script(OUTSIDE) == []
    assert page.execute_script(WIDER) == []


def test_a_name_that_is_cut_is_there_as_a_whole(page: Chrome) -> None:
    titles = "return [...document.querySelectorAll('#diagram title')].map((t) => t.textContent)"
    assert LONG in page.execute_script(titles)


def test_names_are_no_markup(page: Chrome) -> None:
    """Of policies, rules and interfaces, in events and explanations."""
    rows = "return document.querySelector('#rule-table').textContent"
    wait_until(lambda: MARKUP in page.execute_script(rows), "the rule")
    page.find_element(By.NAME, "destination").send_keys("198.51.100.1", Keys.ENTER)
    wait_until(lambda: MARKUP in text(page, "answer"), "the explanation")
    shown = text(page, "event-list")
    assert f"{MARKUP} is up\nby {MARKUP}" in shown
    assert f"{MARKUP} is down\n{MARKUP}; {MARKUP} applies" in shown
    assert f"reload\n{MARKUP}" in shown
    assert f"conflict\n{MARKUP}" in shown
    assert f"router gone\n{MARKUP}" in shown
    assert f"{MARKUP}\n{{" in shown, "what the page does not know"
    images = "return [...document.images].map((each) => each.getAttribute('src'))"
    assert page.execute_script(images) == ["/icon.svg"]


def test_every_kind_of_event_is_in_words(page: Chrome) -> None:
    shown = text(page, "event-list")
    assert "office is up\nby wg0" in shown
    assert "lab is down\nthere is no interface tun5; reject applies" in shown
    assert "reload\nreloaded: 9 rules" in shown
    assert "conflict\nanother program has removed what is ours" in shown


def test_rules_that_were_never_hit(page: Chrome) -> None:
    assert "209, 202 never hit" in text(page, "rule-count")
    page.find_element(By.ID, "never-hit").click()
    rows = "return document.querySelectorAll('#rule-table tbody tr').length"
    wait_until(lambda: page.execute_script(rows) == 202, "those alone")
    page.find_element(By.ID, "never-hit").click()
    wait_until(lambda: page.execute_script(rows) == 210, "all, and the default")
