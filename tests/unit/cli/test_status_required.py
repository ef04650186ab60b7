"""`status --require`: the exit status, and why, by the policies of an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from router.cli import status
from tests.unit.cli.test_status_text import ANSWER

DOWN = {
    **ANSWER["policies"]["home"],
    **{"state": "down", "applies": "reject", "why_down": "there is no interface wg0"},
}
POLICIES = {**ANSWER["policies"], "home": {**ANSWER["policies"]["home"], "state": "up"}}


@pytest.fixture(autouse=True)
def _answered(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {**ANSWER, "policies": {**POLICIES, "office": DOWN}}
    monkeypatch.setattr(status, "find_router", lambda _: Path("tun11.sock"))
    monkeypatch.setattr(status, "request", lambda *_: answer)


@pytest.mark.parametrize(
    ("required", "code", "words"),
    [
        ([], 0, ""),
        (["home", "reply"], 0, ""),
        (
            ["home", "office"],
            1,
            "tunrouter status: policy office is down: there is no interface wg0; reject applies\n",
        ),
        (["hom"], 1, "tunrouter status: there is no policy 'hom': did you mean 'home'?\n"),
        (["zzz", "home"], 1, "tunrouter status: there is no policy 'zzz': there are reply, home,"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_policies_that_have_to_be_up(
    required: list[str], code: int, words: str, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status.status(None, required, as_json=as_json) == code
    printed = capsys.readouterr()
    assert printed.err[: len(words) or None] == words
    assert "office" in (json.loads(printed.out)["policies"] if as_json else printed.out)
