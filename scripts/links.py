"""Fetches every page of another host that the documentation leads to, once.

Usage: python -m scripts.links

The exit status is 1 where one does not answer with 200, after redirections, or where an address is
not of the form that `faults` wants.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

ROOT: Final = Path(__file__).parents[1]
LINK: Final = re.compile(r"\]\((?P<url>[a-z]+:[^)\s]+)\)|<(?P<bare>https?:[^>\s]+)>")
TIMEOUT_S: Final = 30.0
AGENT: Final = "Mozilla/5.0 (links of tunrouter's documentation)"
"""Some hosts refuse the name of Python's client."""


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])


def links(text: str) -> list[str]:
    """The addresses of other hosts, in their order."""
    return [found["url"] or found["bare"] for found in LINK.finditer(text)]


def faults(urls: Iterable[str]) -> Iterator[str]:
    """What is wrong with the addresses of one page, as it can be seen without the network."""
    seen = set()
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme == "mailto":
            continue
        if parts.scheme != "https":
            yield f"{url}: not https"
        if "." not in (parts.hostname or "") or url != url.strip().rstrip(".,;"):
            yield f"{url}: no address of a page"
        if url in seen:
            yield f"{url}: twice on the page"
        seen.add(url)


def main() -> int:
    """The exit status."""
    status = 0
    wanted: dict[str, Path] = {}
    for page in documents():
        urls = links(page.read_text(encoding="utf-8"))
        for fault in faults(urls):
            print(f"{page.relative_to(ROOT)}: {fault}", file=sys.stderr)
            status = 1
        wanted |= {url: page for url in urls if url.startswith("https:")}
    for url, page in wanted.items():
        answer = _fetched(url)
        print(f"{answer}  {url}")
        if answer != "200":
            print(f"{page.relative_to(ROOT)}: {url}: {answer}", file=sys.stderr)
            status = 1
    return status


def _fetched(url: str) -> str:
    """The status, or what kept it from coming."""
    request = Request(url, headers={"User-Agent": AGENT})  # noqa: S310 - https alone
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return str(answer.status)
    except (URLError, OSError) as error:
        return str(getattr(error, "code", None) or error)


if __name__ == "__main__":
    sys.exit(main())
