"""What the name of a network interface may look like.

Source: Linux, net/core/dev.c, dev_valid_name (IFNAMSIZ is 16 with the terminating zero; and
ALTIFNAMSIZ is 128); macOS allows as many characters. '%' is left out because the kernel takes it
for a place to number.

Must not know: which interfaces there are.
"""

from __future__ import annotations

from router.config.schema import NOT_INTERFACE_NAME

MAXIMUM_NAME = 15
MAXIMUM_ALTERNATIVE_NAME = 127
DEFAULT_INTERFACE = "default"
"""`interface: default`: whatever holds the default route."""


def interface_fault(name: str, longest: int = MAXIMUM_NAME) -> str | None:
    """Why no interface can be called so, or None. `longest`: bytes that the name may have."""
    if len(name.encode(errors="replace")) > longest:
        return f"is longer than {longest} characters"
    if name in NOT_INTERFACE_NAME:
        return "is not a name"
    for char, called in (("/", "a '/'"), (":", "a ':'"), ("%", "a '%'")):
        if char in name:
            return f"has {called} in it"
    if not name.isprintable() or any(char.isspace() for char in name):
        return "has blanks in it"
    return None if name else "is empty"
