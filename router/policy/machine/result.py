"""The outcome of one check."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Status(StrEnum):
    """Missing: without it a run does not start, or carries nothing. Warning: something is not as
    most users want it, or could not be seen."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


class Result(NamedTuple):
    """finding: one clause. remedy: what to do, a clause too; None where there is nothing to do."""

    id: str
    status: Status
    finding: str
    remedy: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """The members that scripts rely on."""
        return {
            "id": self.id,
            "status": self.status.value,
            "finding": self.finding,
            "remedy": self.remedy,
        }


def worst(statuses: list[Status]) -> Status:
    """Ok where there is none."""
    order = list(Status)
    return max(statuses, key=order.index, default=Status.OK)
