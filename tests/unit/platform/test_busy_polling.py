"""When a wait polls before it sleeps, with a clock and a system in memory."""

from __future__ import annotations

from router.platform.linux.poller import BRIEF, PAUSE, POLLS, polling_first

SOMETHING = [(7, 1)]
LONG = 20 * BRIEF


class System:
    """A wait takes as long as it is told to, unless something is there at once."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleep = LONG
        self.there_after = 0
        self.polls = self.sleeps = self.yields = 0
        self.wait = polling_first(self._poll, lambda: self.now, self._yield)

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if timeout == 0.0:
            self.polls += 1
            return SOMETHING if self.yields >= self.there_after else []
        self.sleeps += 1
        self.now += self.sleep
        return SOMETHING

    def _yield(self) -> None:
        self.yields += 1

    def sleep_briefly(self) -> None:
        self.sleep = BRIEF / 2
        self.wait(1.0)


def test_rare_packets_are_slept_for_without_a_poll() -> None:
    system = System()
    for _ in range(9):
        assert system.wait(1.0) == SOMETHING
    assert (system.polls, system.sleeps) == (0, 9)


def test_what_comes_soon_after_a_brief_sleep_is_found_by_polling() -> None:
    system = System()
    system.sleep_briefly()
    for _ in range(9):
        system.there_after = system.yields + 3
        assert system.wait(None) == SOMETHING
    assert (system.polls, system.sleeps, system.yields) == (9 * 4, 1, 9 * 3)


def test_polls_that_found_nothing_are_not_repeated_at_once() -> None:
    system = System()
    system.sleep_briefly()
    system.there_after = 1 << 30
    for _ in range(1 + PAUSE):
        assert system.wait(1.0) == SOMETHING
    assert (system.polls, system.sleeps) == (POLLS, 2 + PAUSE)
    system.wait(1.0)
    assert system.polls == 2 * POLLS


def test_a_long_sleep_ends_the_polls() -> None:
    system = System()
    system.sleep_briefly()
    system.there_after, system.sleep = 1 << 30, LONG
    for _ in range(99):
        system.wait(1.0)
    assert system.polls == POLLS


def test_a_wait_without_time_is_one_poll() -> None:
    system = System()
    system.sleep_briefly()
    system.there_after = 1 << 30
    assert system.wait(0.0) == []
    assert (system.polls, system.sleeps, system.yields) == (1, 1, 0)
