"""Which account the router runs as where the rules name none."""

from __future__ import annotations

import pwd
from types import SimpleNamespace

import pytest

from router.platform.account import usual_account


def test_an_account_of_its_own_goes_before_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_name=name))
    assert usual_account() == "tunrouter"

    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", unknown)
    assert usual_account() == "nobody"
