"""The files of the page, read once: the server may be unable to open them later.

Always true: nothing but the files listed here is served.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parent / "page"
SCRIPT: Final = "text/javascript; charset=utf-8"
NAMES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/app.js": ("app.js", SCRIPT),
    "/format.js": ("format.js", SCRIPT),
    "/diagram.js": ("diagram.js", SCRIPT),
    "/plot.js": ("plot.js", SCRIPT),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""By path, the file and its type."""


class PageFile(NamedTuple):
    content: bytes
    media_type: str


def page_files() -> dict[str, PageFile]:
    """By path. Raises OSError."""
    return {
        path: PageFile((FOLDER / name).read_bytes(), media_type)
        for path, (name, media_type) in NAMES.items()
    }
