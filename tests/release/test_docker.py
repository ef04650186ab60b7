"""The recipe beside other programs, with Docker itself: `make test` has its rules alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.e2e.documents.pages import other_programs
from tests.e2e.documents.test_pages import read
from tests.e2e.testbed import Testbed
from tests.release.docker import docker


def test_the_recipe(bed: Testbed, tmp_path: Path) -> None:
    read(bed, tmp_path, "recipes/beside-others.md", partial(other_programs, docker=docker))
