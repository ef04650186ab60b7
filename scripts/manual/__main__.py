"""Writes the manual pages tunrouter(1) and rules.yaml(5).

Usage: python -m scripts.manual DIRECTORY
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from scripts.manual import pages


def main(directory: str) -> None:
    """Write them, with the date of today or of SOURCE_DATE_EPOCH."""
    into = Path(directory)
    into.mkdir(parents=True, exist_ok=True)
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    for name, text in pages(time.strftime("%Y-%m-%d", time.gmtime(seconds))).items():
        (into / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
