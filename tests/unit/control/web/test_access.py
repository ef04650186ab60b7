"""Requests and their refusals: methods, hosts, other sites, the token, headers, files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from router.control.client import NoAnswerError
from router.control.web import app
from router.control.web.access import HEADERS, host_in
from router.control.web.app import application
from router.control.web.files import FOLDER, NAMES
from tests.web.sample import SampleAnswers

TOKEN = "a-token-of-24-characters"
PATHS = (
    *("/", "/app.js", "/style.css", "/icon.svg", "/api/status", "/api/flows", "/api/events"),
    *("/api/history", "/api/explain?destination=192.0.2.1", "/api/page", "/metrics"),
)


class NoRouter(SampleAnswers):
    """One that cannot be reached."""

    async def status(self, age: float = 0.0) -> dict[str, Any]:
        raise NoAnswerError("no router is running here")

    async def flows(self, age: float = 0.0) -> dict[str, Any]:
        raise NoAnswerError("no router is running here")


class Broken(SampleAnswers):
    async def status(self, age: float = 0.0) -> dict[str, Any]:
        return {}


def client_of(
    answers: SampleAnswers, token: str | None = None, host: str = "127.0.0.1:9469"
) -> TestClient:
    served = application(answers, token, ["Laptop"])
    return TestClient(served, base_url=f"http://{host}", raise_server_exceptions=True)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of(SampleAnswers()) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_headers_that_keep_others_out(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "access-control-allow-origin" not in answer.headers
    assert client.head(path).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"])
@pytest.mark.parametrize("path", PATHS)
def test_nothing_but_reading_is_answered(client: TestClient, path: str, method: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9469", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("192.0.2.7:80", 200),
        ("[::1]:9469", 200),
        ("laptop:9469", 200),
        ("evil.example:9469", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ],
)
def test_only_names_of_this_machine_are_answered(
    client: TestClient, host: str, status: int
) -> None:
    """A page at a name that has been led here must not read anything (DNS rebinding)."""
    assert client.get("/api/status", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/status", {"Origin": "http://evil.example"}, 403),
        ("/api/status", {"Origin": "null"}, 403),
        ("/api/status", {"Origin": "http://127.0.0.1:9469"}, 200),
        ("/api/status", {"Origin": "http://127.0.0.1:8000"}, 403),
        ("/api/status", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        ("/api/status", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("/api/status", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("/app.js", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("/", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ("/", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
    ],
    ids=str,
)
def test_pages_of_other_sites_read_nothing(
    client: TestClient, path: str, headers: dict[str, str], status: int
) -> None:
    assert client.get(path, headers=headers).status_code == status


@pytest.mark.parametrize("path", PATHS)
def test_with_a_token_nothing_is_answered_without(path: str) -> None:
    with client_of(SampleAnswers(), TOKEN) as client:
        refused = client.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
        assert TOKEN not in refused.text
        assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.get(path, auth=("whoever", TOKEN)).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        *("", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"bearer {TOKEN[:-1]}"),
        *(f"Digest {TOKEN}", TOKEN, "Basic", "Basic !!!", "Basic YTpi", "Basic /w=="),
    ],
)
def test_other_tokens_are_refused(value: str) -> None:
    with client_of(SampleAnswers(), TOKEN) as client:
        assert client.get("/", headers={"Authorization": value}).status_code == 401


def test_a_router_that_is_not_reached() -> None:
    with client_of(NoRouter()) as client:
        for path in ("/api/status", "/api/flows", "/metrics"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert answer.json() == {"error": "no router is running here"}
        page = client.get("/api/page")
        assert (page.status_code, page.json()["error"]) == (200, "no router is running here")
        assert client.get("/api/history").status_code == 200


def test_a_fault_of_ours_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with client_of(Broken()) as client:
        assert client.get("/metrics").status_code == 500
    assert [record for record in caplog.records if "/metrics cannot be answered" in record.message]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "query",
    ["protocol=gre", "rule=-1", "rule=x", "sort=name", "limit=9999999999999", "rule=%C2%B2"],
)
def test_an_invalid_query_is_named(client: TestClient, query: str) -> None:
    answer = client.get(f"/api/flows?{query}")
    assert answer.status_code == 400
    assert f"{query.partition('=')[0]} cannot be" in answer.json()["error"]


def test_flows_are_chosen_and_ordered(client: TestClient) -> None:
    def found(query: str) -> list[tuple[str, int]]:
        flows = client.get(f"/api/flows?{query}").json()["flows"]
        return [(flow["destination"], flow["destination_port"]) for flow in flows]

    assert found("policy=proxy") == [("203.0.113.80", 443)]
    assert found("rule=4") == [("203.0.113.80", 443)]
    assert found("search=fd00 993") == [("fd00:10::25", 993)]
    assert found("search=10.20.0.8:22") == [("10.20.0.8", 22)]
    assert found("search=udp&sort=bytes") == [("198.51.100.99", 443), ("198.51.100.53", 53)]
    assert found("search=udp&limit=1") == [("198.51.100.99", 443)]
    assert client.get("/api/flows?search=udp&limit=1").json()["total"] == 2


def test_events_are_numbered(client: TestClient) -> None:
    everything = client.get("/api/events").json()
    last = everything["last"]
    assert [event["id"] for event in everything["events"]] == list(range(1, last + 1))
    assert client.get(f"/api/events?after={last}").json() == {"events": [], "last": last}


def test_explain_passes_the_question_on(client: TestClient) -> None:
    assert client.get("/api/explain?destination=10.20.0.8").json()["text"].startswith("10.20.0.8")
    for query in ("", "destination=", "destination=a&port=0", "destination=a&protocol=gre"):
        assert "error" in client.get(f"/api/explain?{query}").json()


@pytest.mark.parametrize(
    ("header", "name"),
    [("a:1", "a"), ("a", "a"), ("[::1]:2", "::1"), ("[::1]", "::1"), ("", ""), ("[", "")],
)
def test_the_host_of_a_header(header: str, name: str) -> None:
    assert host_in(header) == name


def test_the_page_names_no_other_host_and_has_no_script_or_style_of_its_own() -> None:
    """The policy would refuse them."""
    assert {path.name for path in FOLDER.iterdir()} == {name for name, _ in NAMES.values()}
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|url\(", text), path
    html = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script>", html)
    scripts = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|new Function", scripts)


def test_of_many_rules_those_that_were_never_hit_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "RULES_SHOWN", 3)
    with client_of(SampleAnswers()) as client:
        for query, expected in (("", [1, 4, 9]), ("?never_hit=1", [3, 8])):
            page = client.get(f"/api/page{query}").json()
            assert [rule["index"] for rule in page["status"]["rules"]] == expected
            assert (page["rules_total"], page["rules_never_hit"]) == (9, 2)
