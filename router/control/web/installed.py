"""Whether what the web process needs is installed: the extra `web`.

Must not know: what it is needed for. Imports nothing of it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

NEEDED: Final = ("starlette", "uvicorn", "prometheus_client")
NOT_INSTALLED: Final = "the web page needs {}, which {} not installed: pip install 'tunrouter[web]'"


def lacking_packages() -> tuple[str, ...]:
    """Those of NEEDED that are not installed, as pip names them. Imports nothing."""
    return tuple(name.replace("_", "-") for name in NEEDED if find_spec(name) is None)


def not_installed() -> str | None:
    """What lacks, in one sentence; None if nothing does."""
    lacking = lacking_packages()
    if not lacking:
        return None
    return NOT_INSTALLED.format(" and ".join(lacking), "is" if len(lacking) == 1 else "are")
