"""The site builds without a warning: each page is in the navigation, and each link has a target."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
OTHER_HOST = re.compile(rb"""(?:src|href)=["']?https?://[^"' >]+\.(?:js|css|woff2?)""")


def test_it_builds_and_fetches_nothing_from_other_hosts(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    assert not [page for page in pages if OTHER_HOST.search(page.read_bytes())]


def test_the_reference_is_that_of_the_schema() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "scripts.rules", "--check"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
