"""How pages are read: a page that shows what is not printed must not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.documents.transcript import Command, File, is_shown, steps

PAGE = """\
# A page

```yaml title="rules.yaml"
version: 1
```

```yaml
no: file
```

```console
$ ping -c1 192.0.2.1   # by the router
64 bytes from 192.0.2.1: icmp_seq=1 ttl=63 time=0.471 ms

1 packets transmitted, …
lan$ true
$ tunrouter trace &
12:00:01.273541 out
```

```sh
make run
```
"""
PRINTED = ["64 bytes from 192.0.2.1: icmp_seq=1 ttl=63 time=0.471 ms", "1 packets …, time 0ms"]
OUTPUT = """\
PING
64 bytes from 192.0.2.1: icmp_seq=1 ttl=63 time=12 ms

1 packets transmitted, 1 received, time 7ms
"""


def test_files_and_commands_in_their_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert list(steps(page)) == [
        File("rules.yaml", "version: 1\n"),
        Command(
            "ping -c1 192.0.2.1",
            printed=[PRINTED[0], "1 packets transmitted, …"],
        ),
        Command("true", "lan"),
        Command("tunrouter trace", goes_on=True, printed=["12:00:01.273541 out"]),
    ]


def test_what_is_printed_is_shown() -> None:
    assert is_shown(PRINTED, OUTPUT) is None
    assert is_shown(["12:00:01.273541 out"], "23:59:59.000001 out\n") is None


@pytest.mark.parametrize(
    "line",
    [
        "64 bytes from 192.0.2.1: icmp_seq=1 ttl=62 time=0.471 ms",
        "64 bytes from 192.0.2.2: icmp_seq=1 ttl=63 time=0.471 ms",
        "64 bytes",
        "2 packets …",
    ],
)
def test_another_line_is_not(line: str) -> None:
    assert is_shown([line], OUTPUT) == line


def test_nor_is_another_order() -> None:
    assert is_shown(PRINTED[::-1], OUTPUT) == PRINTED[0]
