"""Configurations imported as the command does it, and loaded."""

from __future__ import annotations

from pathlib import Path

from router.config.foreign.clash import read_clash
from router.config.foreign.lists import Beside
from router.config.foreign.model import Imported
from router.config.foreign.sing_box import read_sing_box
from router.config.foreign.surge import read_surge
from router.config.foreign.writing import list_text, rules_text
from router.config.loader import load
from router.config.model import Config, Policy
from router.config.opening import Opener

READERS = {"clash": read_clash, "surge": read_surge, "sing-box": read_sing_box}


def imported(program: str, path: Path) -> tuple[Imported, str]:
    """What was read, and the text of the rules file, or of the list."""
    beside = Beside(path, Opener(), by_user=False)
    found = READERS[program](str(path), path.read_text(encoding="utf-8"), beside.read)
    if found.networks is not None:
        return found, list_text(found.networks)
    return found, rules_text(found, program)


def of_text(program: str, directory: Path, text: str) -> tuple[Imported, str]:
    path = directory / "foreign"
    path.write_text(text, encoding="utf-8")
    return imported(program, path)


def loaded(directory: Path, text: str) -> Config:
    path = directory / "imported.yaml"
    path.write_text(text, encoding="utf-8")
    found = load(path)
    assert found.config is not None, [each.as_line() for each in found.problems]
    return found.config


def outcome(policy: Policy) -> str:
    """As the oracles name it."""
    if policy.proxy is not None:
        return f"proxy {policy.proxy}"
    return policy.name if policy.interface is None else f"interface {policy.interface}"
