"""Each state of the page in Chromium, in light and dark colours and on a phone: axe-core finds
nothing in it, and nothing is wider than its place. Nothing of it needs root or a router."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from router.control.client import NoAnswerError
from tests.e2e.wait import wait_until
from tests.web.accessibility import findings
from tests.web.chromium import chromium, emulate
from tests.web.sample import SampleAnswers
from tests.web.screenshots import sample_page

LAYOUTS: Final = ((1280, "light", False), (390, "dark", True))
OTHER_LAYOUTS: Final = ((1280, "dark", False), (390, "light", True))
WIDER: Final = "const root = document.documentElement; return root.scrollWidth - root.clientWidth;"


class Router(SampleAnswers):
    """One that may be gone, or have no flow, drop or rule."""

    is_gone = True
    is_new = False

    async def status(self, age: float = 0.0) -> dict[str, Any]:
        if self.is_gone:
            raise NoAnswerError("no router is running here")
        status = await super().status(age)
        return {**status, "rules": [], "drops": {}} if self.is_new else status

    async def flows(self, age: float = 0.0) -> dict[str, Any]:
        flows = await super().flows(age)
        unread = "connections of the direct path: Operation not permitted"
        return {"flows": [], "unread": [unread]} if self.is_new else flows

    async def explain(self, question: Mapping[str, Any]) -> dict[str, Any]:
        if self.is_gone:
            raise NoAnswerError("no router is running here")
        return await super().explain(question)


class View:
    """The page, and the router that it is about."""

    def __init__(self, browser: Chrome, router: Router) -> None:
        self.browser, self.router = browser, router

    def text(self, name: str) -> str:
        return self.browser.find_element(By.ID, name).text

    def shows(self, name: str, words: str) -> None:
        wait_until(
            lambda: words in self.text(name),
            f"{words!r} in {name}",
            detail=lambda: self.text(name),
        )

    def search(self, words: str) -> None:
        field = self.browser.find_element(By.ID, "flow-search")
        field.clear()
        field.send_keys(words)

    def explain(self, destination: str) -> None:
        field = self.browser.find_element(By.NAME, "destination")
        field.clear()
        field.send_keys(destination + "\n")


@pytest.fixture(scope="module")
def view() -> Iterator[View]:
    router = Router()
    with sample_page(router) as url, chromium() as browser:
        browser.get(url)
        yield View(browser, router)


def is_in_order(view: View, layouts: tuple[tuple[int, str, bool], ...] = LAYOUTS) -> None:
    for width, scheme, is_phone in layouts:
        emulate(view.browser, width, 900, scheme=scheme, mobile=is_phone)
        found = findings(view.browser)
        assert not found, f"{width}, {scheme}: {found}"
        assert view.browser.execute_script(WIDER) <= 0, f"{width}: wider than the window"


def nothing_known(view: View) -> None:
    view.shows("trouble", "no router is running here")
    view.explain("198.51.100.1")
    view.shows("answer", "no router is running here")
    assert not view.text("answer-note")


def all_of_it(view: View) -> None:
    view.router.is_gone = False
    view.shows("state", "running")
    view.shows("diagram", "B/s")
    wait_until(lambda: view.browser.find_elements(By.CSS_SELECTOR, "#plots svg"), "the plots")
    view.shows("event-list", "conflict")


def flows_by_a_search(view: View) -> None:
    view.search("tcp office")
    view.shows("flow-count", "3")
    view.browser.find_element(By.ID, "flow-search").click()


def no_flow_matches(view: View) -> None:
    view.search("no-such-host")
    view.shows("flow-note", "No flow matches")
    view.search("")


def an_explanation(view: View) -> None:
    view.explain("10.20.0.8")
    view.shows("answer", "kernel")


def rules_that_were_never_hit(view: View) -> None:
    view.browser.find_element(By.ID, "never-hit").click()
    rows = "return document.querySelectorAll('#rule-table tbody tr').length"
    wait_until(lambda: view.browser.execute_script(rows) == 2, "those alone")


def the_cursor_is_on_a_plot(view: View) -> None:
    plot = view.browser.find_element(By.CSS_SELECTOR, "#plots svg")
    move = "arguments[0].dispatchEvent(new PointerEvent('pointermove', {clientX: 300}));"
    view.browser.execute_script(move, plot)


def a_router_that_is_gone(view: View) -> None:
    assert not view.text("answer-note")
    view.router.is_gone = True
    view.shows("trouble", "What is shown here is of ")
    view.shows("answer-note", "while the router ran")


def one_that_has_just_begun(view: View) -> None:
    view.router.is_gone, view.router.is_new = False, True
    view.shows("state", "running")
    view.shows("rule-note", "There are no rules.")
    view.shows("flow-note", "Not listed: ")
    assert not view.text("answer-note")


STATES: Final[tuple[Callable[[View], None], ...]] = (
    *(nothing_known, all_of_it, flows_by_a_search, no_flow_matches, an_explanation),
    *(rules_that_were_never_hit, the_cursor_is_on_a_plot, a_router_that_is_gone),
    one_that_has_just_begun,
)


def test_each_state_is_accessible(view: View) -> None:
    """One after the other, each from the one before; in all layouts where colours are new."""
    for reach in STATES:
        reach(view)
        is_in_order(view)
        if reach in (an_explanation, a_router_that_is_gone):
            is_in_order(view, OTHER_LAYOUTS)
