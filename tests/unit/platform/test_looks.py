"""When a wait looks before it sleeps, with a clock and a system in memory."""

from __future__ import annotations

from router.platform.linux.poller import BRIEF, LOOKS, WITHOUT, looking_first

SOMETHING = [(7, 1)]
LONG = 20 * BRIEF


class System:
    """A wait takes as long as it is told to, unless something is there at once."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleep = LONG
        self.there_after = 0
        self.looks = self.sleeps = self.turns_of_others = 0
        self.wait = looking_first(self._poll, lambda: self.now, self._let_others_run)

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if timeout == 0.0:
            self.looks += 1
            return SOMETHING if self.turns_of_others >= self.there_after else []
        self.sleeps += 1
        self.now += self.sleep
        return SOMETHING

    def _let_others_run(self) -> None:
        self.turns_of_others += 1

    def sleep_briefly(self) -> None:
        self.sleep = BRIEF / 2
        self.wait(1.0)


def test_rare_packets_are_slept_for_without_a_look() -> None:
    system = System()
    for _ in range(9):
        assert system.wait(1.0) == SOMETHING
    assert (system.looks, system.sleeps) == (0, 9)


def test_what_comes_soon_after_a_brief_sleep_is_found_by_looking() -> None:
    system = System()
    system.sleep_briefly()
    for _ in range(9):
        system.there_after = system.turns_of_others + 3
        assert system.wait(None) == SOMETHING
    assert (system.looks, system.sleeps, system.turns_of_others) == (9 * 4, 1, 9 * 3)


def test_looks_in_vain_are_not_repeated_at_once() -> None:
    system = System()
    system.sleep_briefly()
    system.there_after = 1 << 30
    for _ in range(1 + WITHOUT):
        assert system.wait(1.0) == SOMETHING
    assert (system.looks, system.sleeps) == (LOOKS, 2 + WITHOUT)
    system.wait(1.0)
    assert system.looks == 2 * LOOKS


def test_a_long_sleep_ends_the_looks() -> None:
    system = System()
    system.sleep_briefly()
    system.there_after, system.sleep = 1 << 30, LONG
    for _ in range(99):
        system.wait(1.0)
    assert system.looks == LOOKS


def test_a_wait_without_time_is_one_look() -> None:
    system = System()
    system.sleep_briefly()
    system.there_after = 1 << 30
    assert system.wait(0.0) == []
    assert (system.looks, system.sleeps, system.turns_of_others) == (1, 1, 0)
