"""`run --watch`: what is saved, in whatever way, is applied once it has settled; what is bad
changes nothing and is shown with the caret.

Always true: nothing but saving has made the router read its rules again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Process
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import TUN, Tunrouter, rules, running
from tests.e2e.wait import wait_until

SAVED = "198.51.100.0/28", "198.51.100.16/28"
"""Networks that a test captures one after the other."""


@pytest.fixture(scope="module")
def router(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunrouter]:
    directory = tmp_path_factory.mktemp("watched")
    with running(bed.router, directory, written(), options=("--watch",)) as started:
        yield started


def written(*networks: str, lists: tuple[str, ...] = ()) -> str:
    text = rules(*(f"{network} -> drop" for network in networks), "192.0.2.1 -> drop")
    named = "".join(f"  - {{file: {name}, policy: drop}}\n" for name in lists)
    return text.replace("default:", named + "default:")


def captured(bed: Testbed, network: str) -> bool:
    return f"{network} dev {TUN}" in bed.router.run("ip", "route").stdout


def wait_for_route(bed: Testbed, router: Tunrouter, network: str) -> None:
    wait_until(lambda: captured(bed, network), network, detail=lambda: router.log)


def saved_and_read(router: Tunrouter, save: Callable[[], object]) -> str:
    """What the log has of the one reading that follows."""
    before, length = len(router.reloads()), len(router.log)
    save()
    wait_until(lambda: len(router.reloads()) > before, "a reading", detail=lambda: router.log)
    return router.log[length:]


def test_a_file_that_is_written_in_place(bed: Testbed, router: Tunrouter) -> None:
    saved_and_read(router, lambda: router.rules_file.write_text(written(SAVED[0])))
    wait_for_route(bed, router, SAVED[0])


def test_a_file_that_is_replaced_by_another(bed: Testbed, router: Tunrouter) -> None:
    def replace() -> None:
        other = router.rules_file.with_name("other.tmp")
        other.write_text(written(SAVED[1]))
        other.rename(router.rules_file)

    saved_and_read(router, replace)
    wait_for_route(bed, router, SAVED[1])
    assert not captured(bed, SAVED[0])


@pytest.mark.parametrize("keeps", ["no", "yes"])
def test_a_file_that_vi_saves(bed: Testbed, router: Tunrouter, keeps: str) -> None:
    """With a backup by renaming the file (no), and by copying it."""
    saved_and_read(router, lambda: router.rules_file.write_text(written()))
    assert not captured(bed, SAVED[0])
    commands = f"set backup backupcopy={keeps}", f'%s#192.0.2.1"#{SAVED[0]}"#', "wq"
    options = [word for command in commands for word in ("-c", command)]

    def save() -> None:
        vi = Process(["vi", "-es", "-u", "NONE", *options, str(router.rules_file)])
        assert vi.wait() == 0, vi.stderr
        vi.close()

    saved_and_read(router, save)
    wait_for_route(bed, router, SAVED[0])


def test_a_file_that_comes_in_pieces_is_read_when_it_is_whole(
    bed: Testbed, router: Tunrouter
) -> None:
    """Each piece alone would be a bad file. Many small writes: however slow this machine is, the
    last of them follows within what has to be quiet, or the test says that the file was bad."""
    text = written(SAVED[1])

    def save() -> None:
        with router.rules_file.open("w") as stream:
            for at in range(0, len(text), 16):
                stream.write(text[at : at + 16])
                stream.flush()

    log = saved_and_read(router, save)
    assert "error" not in log
    wait_for_route(bed, router, SAVED[1])


def test_a_bad_file_changes_nothing_and_is_shown_with_the_caret(
    bed: Testbed, router: Tunrouter
) -> None:
    saved_and_read(router, lambda: router.rules_file.write_text(written(SAVED[0])))
    bad = written(SAVED[0]).replace("192.0.2.1", "192.0.2.300")
    log = saved_and_read(router, lambda: router.rules_file.write_text(bad))
    assert "tunrouter: error: not reloaded: the former rules go on" in log
    lines = log.splitlines()
    at = next(number for number, line in enumerate(lines) if "error[bad-cidr]" in line)
    source, carets = lines[at + 1], lines[at + 2]
    assert source == 'tunrouter: |   - {cidr: "192.0.2.300", policy: drop}'
    assert source.index('"192') in (carets.index("^"), carets.index("^") - 1)
    assert captured(bed, SAVED[0])

    saved_and_read(router, lambda: router.rules_file.write_text(written(SAVED[1])))
    wait_for_route(bed, router, SAVED[1])


def test_a_list_that_is_newly_named_and_then_saved(bed: Testbed, router: Tunrouter) -> None:
    names = router.rules_file.with_name("names.txt")
    names.write_text("203.0.113.0/28\n")
    saved_and_read(router, lambda: router.rules_file.write_text(written(lists=("names.txt",))))
    wait_for_route(bed, router, "203.0.113.0/28")
    saved_and_read(router, lambda: names.write_text("203.0.113.16/28\n"))
    wait_for_route(bed, router, "203.0.113.16/28")
    assert not captured(bed, "203.0.113.0/28")


def test_a_list_that_is_missing_and_then_made(bed: Testbed, router: Tunrouter) -> None:
    late = router.rules_file.with_name("late.txt")
    log = saved_and_read(router, lambda: router.rules_file.write_text(written(lists=("late.txt",))))
    assert "missing-list" in log
    saved_and_read(router, lambda: late.write_text("203.0.113.32/28\n"))
    wait_for_route(bed, router, "203.0.113.32/28")


def test_a_link_that_leads_elsewhere(bed: Testbed, router: Tunrouter) -> None:
    """As configurations are deployed: a directory behind a link, which is replaced."""
    directory = router.rules_file.parent
    for name, network in (("one", "203.0.113.64/28"), ("two", "203.0.113.80/28")):
        (directory / name).mkdir()
        (directory / name / "list.txt").write_text(network + "\n")
    (directory / "current").symlink_to("one")
    text = written(lists=("current/list.txt",))
    saved_and_read(router, lambda: router.rules_file.write_text(text))
    wait_for_route(bed, router, "203.0.113.64/28")

    def swap() -> None:
        (directory / "next").symlink_to("two")
        (directory / "next").rename(directory / "current")

    saved_and_read(router, swap)
    wait_for_route(bed, router, "203.0.113.80/28")


def test_a_file_that_others_can_write_is_refused_until_they_cannot(
    bed: Testbed, router: Tunrouter
) -> None:
    def save() -> None:
        router.rules_file.write_text(written(SAVED[0]))
        router.rules_file.chmod(0o666)

    assert "untrusted-file" in saved_and_read(router, save)
    assert not captured(bed, SAVED[0])
    saved_and_read(router, lambda: router.rules_file.chmod(0o644))
    wait_for_route(bed, router, SAVED[0])


def test_the_program_that_watches_is_started_again(bed: Testbed, router: Tunrouter) -> None:
    """What was saved meanwhile is applied."""
    (watching,) = watchers(router)

    def end() -> None:
        os.kill(watching, signal.SIGKILL)
        router.rules_file.write_text(written(SAVED[1]))

    log = saved_and_read(router, end)
    assert "warning: the program that watches the rules does not run (it has ended)" in log
    wait_for_route(bed, router, SAVED[1])
    saved_and_read(router, lambda: router.rules_file.write_text(written(SAVED[0])))
    wait_for_route(bed, router, SAVED[0])


def watchers(router: Tunrouter) -> list[int]:
    return [
        pid
        for pid in router.pids()
        if b"watch" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    ]


def test_nothing_of_a_run_is_left(router: Tunrouter) -> None:
    assert watchers(router)
    assert router.stop().exit_code == 0
    wait_until(lambda: not router.pids(), "the end of its processes")
