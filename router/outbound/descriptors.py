"""How many descriptors flows may still take.

Theory of operation. A process has a limited number of descriptors, and opening one too many fails
wherever that happens. So flows take theirs from a budget before they open anything: a connection
takes both of its sockets before it is dialled, though the second is opened only when it is
accepted. A RESERVE stays out of the budget, for what has to work when flows have taken everything:
accepting, the control socket, the guard's answers, a reload.

Always true: `others` and what flows have taken, together, are what the process has open, or more;
but for what the reserve is for. No system call is needed for that.

Must not know: what the descriptors are.
"""

from __future__ import annotations

from typing import Final

RESERVE: Final = 128
"""Half of it for the UDP sockets that a system keeps at hand for flows to come."""


class Descriptors:
    """A budget. limit: how many the process may have; of few, half are the reserve.

    others      how many are open that belong to no flow; kept right by the code that opens them
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.others = 0
        self.reserved = min(RESERVE, limit // 2)
        self._for_all = limit - self.reserved
        self._taken = 0

    @property
    def free(self) -> int:
        """How many may be taken; negative when others have taken some of these."""
        return self._for_all - self.others - self._taken

    def take(self, number: int, leaving: int = 0) -> bool:
        """Whether there are so many, and `leaving` more; they are the caller's then, until given
        back."""
        if self.free < number + leaving:
            return False
        self._taken += number
        return True

    def give_back(self, number: int) -> None:
        """They are closed, or about to be."""
        self._taken -= number
