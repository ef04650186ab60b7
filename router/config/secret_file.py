"""Passwords and tokens, which stand in files of their own.

Always true: what is in the file gets into no problem. That this user may not read it is a warning:
the router, which starts as root, may.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

from router.config.fields import Entry, Findings, as_text
from router.config.opening import UntrustedError
from router.config.problems import Severity
from router.config.reading import untrusted
from router.config.trust import NotRegularError


class Secret(NamedTuple):
    """is_known: whether this user may read it; else the value is empty."""

    value: bytes
    is_known: bool = True


def read_secret(findings: Findings, entry: Entry, what: str, most: int) -> Secret | None:
    """The first line of the file that an entry names, relative to the rules file, and at most so
    many bytes; None after the report of an error.

    what: `password` or `token`; the key is what and `_file`.
    """
    key = f"{what}_file"
    text = as_text(findings, entry.value, f"'{key}'", f"{key}: my-{what}")
    if text is None:
        return None
    path = Path(findings.document.file).parent / text
    try:
        with findings.open_file(path) as opened:
            mode, faults = opened.found.st_mode, opened.faults
            line = opened.raw.read(most)
    except PermissionError:
        findings.warning(
            "password-unknown",
            entry.value,
            f"the {what} file {path} may not be read by this user",
            "the router, which starts as root, needs it",
        )
        return Secret(b"", is_known=False)
    except UntrustedError as error:
        findings.add(
            untrusted(fault, Severity.ERROR, findings.place(entry.value)) for fault in error.faults
        )
        return None
    except (OSError, ValueError, NotRegularError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        message = f"the {what} file {path} can't be read: {why}"
        findings.error("missing-password-file", entry.value, message, "create it, or name another")
        return None
    findings.add(untrusted(each, Severity.WARNING, findings.place(entry.value)) for each in faults)
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        findings.warning(
            "password-file-readable",
            entry.value,
            f"others than its owner can read the {what} file {path}",
            f"chmod 600 {path}",
        )
    return Secret(line.partition(b"\n")[0].removesuffix(b"\r"))
