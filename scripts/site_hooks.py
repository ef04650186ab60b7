"""What mkdocs.yml cannot say: the decisions (docs/adr) stand in the navigation in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = "adr"


def on_config(config: Any) -> Any:
    """Called by mkdocs once the configuration is read."""
    pages = sorted((Path(config.docs_dir) / FOLDER).glob("[0-9]*.md"))
    config.nav.append({"Decisions": [f"{FOLDER}/{page.name}" for page in pages]})
    return config
