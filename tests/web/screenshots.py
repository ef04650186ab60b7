"""Pictures of the page for the documents, of a router that answers the same each time.

python -m tests.web.screenshots FOLDER
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from router.control.web.app import application
from router.control.web.server import http_server
from tests.web.chromium import chromium, emulate
from tests.web.sample import SampleAnswers, sample_history

PATIENCE = 20


@contextmanager
def sample_page(answers: SampleAnswers | None = None) -> Iterator[str]:
    """The address of a page that is served."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = application(answers or SampleAnswers(), None, [], sample_history())
    server = http_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def explain(browser: webdriver.Chrome, destination: str) -> None:
    """Ask, and wait for the answer."""
    field = browser.find_element(By.NAME, "destination")
    field.clear()
    field.send_keys(destination)
    browser.find_element(By.CSS_SELECTOR, "#explain-form button").click()
    WebDriverWait(browser, PATIENCE).until(
        lambda _: browser.find_elements(By.CSS_SELECTOR, "#answer > *")
    )


def take(browser: webdriver.Chrome, url: str, folder: Path) -> None:
    for name, width, scheme, mobile in (
        ("web-light", 1360, "light", False),
        ("web-dark", 1360, "dark", False),
        ("web-phone", 390, "light", True),
    ):
        emulate(browser, width, 900, scheme=scheme, mobile=mobile)
        browser.get(url)
        wait = WebDriverWait(browser, PATIENCE)
        wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, "#plots svg"))
        wait.until(lambda _: "MB/s" in browser.find_element(By.ID, "diagram").text)
        explain(browser, "10.20.0.8")
        height = browser.execute_script("return document.documentElement.scrollHeight")
        emulate(
            browser, width, min(height, 1500 if mobile else height), scheme=scheme, mobile=mobile
        )
        browser.save_screenshot(str(folder / f"{name}.png"))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with sample_page() as url, chromium() as browser:
        take(browser, url, folder)


if __name__ == "__main__":
    main()
