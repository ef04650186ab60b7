"""Addresses of other hosts in the documentation, as far as they can be checked without the network:
`make links` fetches them."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.links import ROOT, documents, faults, links

PAGES = {page: links(page.read_text(encoding="utf-8")) for page in documents()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_addresses_have_the_form_of_addresses(page: Path) -> None:
    assert list(faults(PAGES[page])) == []


def test_there_are_some() -> None:
    assert sum(map(len, PAGES.values())) >= 5


@pytest.mark.parametrize(
    "text",
    [
        "[a](http://example.org/)",
        "[a](https://example/)",
        "[a](https://example.org/page.)",
        "[a](https://example.org/) and [b](https://example.org/)",
    ],
)
def test_what_is_wrong_is_named(text: str) -> None:
    assert len(list(faults(links(text)))) == 1


def test_links_within_the_documentation_are_none() -> None:
    assert links("[a](limits.md#rules) <https://example.org/a> [m](mailto:a@example.org)") == [
        "https://example.org/a",
        "mailto:a@example.org",
    ]
