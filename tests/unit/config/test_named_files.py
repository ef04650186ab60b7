"""Which files a rules file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.config.named_files import named_files
from router.config.trust import Reader, this_reader

READER = this_reader({})


def names(tmp_path: Path, text: str, reader: Reader = READER) -> set[str] | None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    found = named_files(file, reader)
    return None if found is None else {str(each.relative_to(tmp_path)) for each in found}


def test_lists_and_passwords_wherever_they_stand(tmp_path: Path) -> None:
    text = (
        "policies:\n  proxy: {type: socks5, password_file: secret}\n"
        "rules:\n  - {file: lists/one.txt, policy: drop}\n  - {file: [two, three], policy: drop}\n"
    )
    assert names(tmp_path, text) == {"secret", "lists/one.txt", "two", "three"}


def test_of_rules_with_errors_too(tmp_path: Path) -> None:
    text = "version: 7\nrules:\n  - {file: one, polcy: drop}\n  - {file: , cidr: 1.2.3.400}\n"
    assert names(tmp_path, text) == {"one"}


@pytest.mark.parametrize("text", ["rules: [", "a: \x07", "- {file: one}\n--- \n- {file: two}\n"])
def test_of_what_is_no_document_nothing_is_known(tmp_path: Path, text: str) -> None:
    assert names(tmp_path, text) is None


def test_of_an_empty_file_and_of_a_path_that_can_be_none(tmp_path: Path) -> None:
    assert names(tmp_path, "") is None
    assert names(tmp_path, 'rules: [{file: "a\\0b"}]') == set()


def test_a_file_that_root_may_not_read_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{file: one}]")
    file.chmod(0o666)
    assert named_files(file, Reader(0, is_root=True)) is None
    assert named_files(tmp_path / "none", READER) is None
