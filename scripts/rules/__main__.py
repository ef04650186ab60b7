"""Writes docs/rules.md.

Usage: python -m scripts.rules [--check]
  --check    change nothing; exit 1 if the page is not what the schema says
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from scripts.rules.keys import read
from scripts.rules.markdown import page

PAGE: Final = Path(__file__).parents[2] / "docs/rules.md"


def main() -> int:
    """The exit status."""
    text = page(read())
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} is not what the schema says: run `make docs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
