"""The page in a real Chromium: what it shows and how soon, a router that stops, no error in its
console, and no finding of axe-core."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.e2e import ping
from tests.e2e.netns import Namespace
from tests.e2e.sockets import enter, set_namespace
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import PROGRAM, Tunrouter, running
from tests.e2e.wait import wait_until
from tests.e2e.web.web_client import URL, web_by_hand, web_rules
from tests.web.accessibility import findings
from tests.web.chromium import chromium

HOME, OFFICE, DROP = 1, 2, 0x20
POLICIES = ((HOME, "home"), (OFFICE, "office"), (DROP, "drop"))
RULES = web_rules(*(f"{V4.far(n)} -> {policy}" for n, policy in POLICIES), web="")
SOON_S = 2.0
ATTEMPTS = 5


@contextmanager
def inside(namespace: Namespace) -> Iterator[None]:
    """The calling thread is in a namespace, and so is what it starts."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(namespace)
        yield
    finally:
        set_namespace(before)
        os.close(before)


@pytest.fixture(scope="module")
def page(bed: Testbed) -> Iterator[Chrome]:
    """The page of a web process that was started by hand and outlives routers."""
    with web_by_hand(bed.router), inside(bed.router), chromium() as browser:
        browser.get(URL)
        yield browser


def text(page: Chrome, name: str) -> str:
    return page.find_element(By.ID, name).text


def shows(page: Chrome, name: str, words: str) -> None:
    wait_until(
        lambda: words in text(page, name), f"{words!r} in {name}", detail=lambda: text(page, name)
    )


def errors(page: Chrome) -> list[dict[str, Any]]:
    entries = page.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry for entry in entries if entry["level"] != "INFO"]


def seconds_until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    wait_until(condition, "it to be shown")
    return time.monotonic() - began


def test_the_page(bed: Testbed, page: Chrome, tmp_path: Path) -> None:
    shows(page, "state", "not reached")
    shows(page, "trouble", "no router is running here")
    with running(bed.router, tmp_path, RULES) as router:
        shows(page, "state", "running")
        shows(page, "facts", str(router.rules_file))
        shows(page, "diagram", "home")
        shows(page, "rule-count", "3 never hit")
        new_flows_are_shown_soon(bed, page)
        traffic_is_shown(bed, page)
        flows_are_searched(page)
        an_address_is_explained(bed, page, router)
        policies_that_go_down_are_shown(bed, page, router)
        has_no_finding(page)
    shows(page, "state", "not reached")
    shows(page, "trouble", "What is shown here is of ")
    shows(page, "event-list", "router gone")
    with running(bed.router, tmp_path, RULES):
        shows(page, "state", "running")
        shows(page, "event-list", "router running")
        assert not page.find_element(By.ID, "trouble").is_displayed()
    assert errors(page) == []


def new_flows_are_shown_soon(bed: Testbed, page: Chrome) -> None:
    """On a machine that is busy with other things it may be later: the best of some counts."""
    taken = []
    for _ in range(ATTEMPTS):
        pings = ping.start(bed.client, V4.far(HOME), "-i", "0.2")
        try:
            taken.append(seconds_until(lambda: V4.far(HOME) in text(page, "flow-table")))
        finally:
            pings.close()
        if taken[-1] < SOON_S:
            return
        wait_until(lambda: V4.far(HOME) not in text(page, "flow-table"), "its end", timeout=90)
    raise AssertionError(f"shown after {taken} s")


def traffic_is_shown(bed: Testbed, page: Chrome) -> None:
    ping.unanswered(bed.client, V4.far(DROP))
    shows(page, "drop-list", "drop\n3")
    shows(page, "rule-count", "1 never hit")
    page.find_element(By.ID, "never-hit").click()
    wait_until(lambda: len(rows(page, "rule-table")) == 1, "the rule that was never hit")
    page.find_element(By.ID, "never-hit").click()
    wait_until(lambda: page.find_elements(By.CSS_SELECTOR, "#plots svg"), "the plots")


def rows(page: Chrome, table: str) -> list[Any]:
    return page.find_elements(By.CSS_SELECTOR, f"#{table} tbody tr")


def flows_are_searched(page: Chrome) -> None:
    assert rows(page, "flow-table")
    field = page.find_element(By.ID, "flow-search")
    field.send_keys("icmp no-such-host")
    wait_until(lambda: not rows(page, "flow-table"), "no flow")
    shows(page, "flow-note", "No flow matches")
    field.clear()
    wait_until(lambda: rows(page, "flow-table"), "all flows")


def an_address_is_explained(bed: Testbed, page: Chrome, router: Tunrouter) -> None:
    file = str(router.rules_file)
    printed = bed.router.run(PROGRAM, "explain", V4.far(OFFICE), "-c", file).stdout
    field = page.find_element(By.NAME, "destination")
    field.send_keys(V4.far(OFFICE) + "\n")
    shows(page, "answer", "kernel")
    assert text(page, "answer").split() == printed.split()
    field.clear()
    field.send_keys("no.such.invalid\n")
    shows(page, "answer", "no address")


def policies_that_go_down_are_shown(bed: Testbed, page: Chrome, router: Tunrouter) -> None:
    bed.close_tunnel()
    try:
        shows(page, "diagram", "down: reject applies")
        shows(page, "event-list", "office is down")
    finally:
        bed.open_tunnel()
    shows(page, "event-list", "office is up")
    router.reload()
    shows(page, "event-list", "reloaded: 3 rules")


def has_no_finding(page: Chrome) -> None:
    """Its other states are those of test_accessibility."""
    found = findings(page)
    assert not found, found


def test_what_is_not_the_page_s_own_is_kept_out(page: Chrome) -> None:
    """Neither scripts in the document nor other hosts: the policy forbids them."""
    run = "const s = document.createElement('script'); s.textContent = 'window.injected = 1';"
    page.execute_script(run + "document.body.append(s);")
    assert page.execute_script("return window.injected") is None
    with pytest.raises(WebDriverException):
        page.execute_script("return fetch('http://192.0.2.1/').then((r) => r.text())")
    assert errors(page), "both are reported"
