"""What the name of a network interface may look like.

Source: Linux, net/core/dev.c, dev_valid_name (IFNAMSIZ is 16 with the terminating zero); macOS
allows as many characters. '%' is left out because the kernel takes it for a place to number.

Must not know: which interfaces there are.
"""

from __future__ import annotations

from router.config.schema import INTERFACE_NAME, NOT_INTERFACE_NAME

MAXIMUM_NAME = 15


def interface_fault(name: str) -> str | None:
    """Why no interface can be called so, or None."""
    if len(name.encode(errors="replace")) > MAXIMUM_NAME:
        return f"is longer than {MAXIMUM_NAME} characters"
    if name in NOT_INTERFACE_NAME:
        return "is not a name"
    for char, called in (("/", "a '/'"), (":", "a ':'"), ("%", "a '%'")):
        if char in name:
            return f"has {called} in it"
    if not name.isprintable() or any(char.isspace() for char in name):
        return "has blanks in it"
    return None if INTERFACE_NAME.fullmatch(name) else "is empty"
