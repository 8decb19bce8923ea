"""The console's HTTP API, as programs meet it: by the description that it gives of itself, and against it.

schemathesis makes requests from the OpenAPI document, valid and not, and holds every answer against it.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import ScenarioFinished
from starlette.testclient import TestClient

from guardrails.console.api import OPERATIONS
from guardrails.ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from guardrails.ledger.tree_head import Checkpoint
from tests.support.console_api import BASE, PEOPLE, SECRET, Working, open_console, person, token

API = "/api/v1"
NOBODY = {"status": 401, "title": "Nobody is signed in to the console", "code": "", "hint": "", "problems": []}
MADE_UP = {"id": "open0001", "index": "3"}


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Working]:
    with open_console(tmp_path_factory.mktemp("api")) as opened:
        yield opened


@pytest.fixture(scope="module")
def document(working: Working) -> dict[str, Any]:
    found = working.client("vic").get(f"{API}/openapi.json")
    assert found.status_code == 200
    described: dict[str, Any] = found.json()
    return described


def calls(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation as method, address and what may be sent along."""
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            address = re.sub(r"\{(\w+)\}", lambda name: MADE_UP[name[1]], path)
            query = {"since": 0, "until": 1, "old": 1, "new": 2} if "?" not in address else {}
            wanted = {p["name"] for p in described["parameters"] if p["in"] == "query" and p["required"]}
            more: dict[str, Any] = {"params": {name: value for name, value in query.items() if name in wanted}}
            if "requestBody" in described:
                more["json"] = (
                    {"sql": "SELECT 1"} if path.endswith("/check") else {"comment" if "close" in path else "reason": "so"}
                )
            yield method.upper(), address, more


def test_generated_requests_find_nothing_that_the_document_does_not_say(document: dict[str, Any], working: Working) -> None:
    """No 5xx, no answer of another form, nothing accepted that is malformed, nothing told without a good token."""
    lacks_a_reason = {"positive_data_acceptance": {"expected-statuses": ["2XX", 403, 404, 409, 410, 422]}}
    config = SchemathesisConfig.from_dict(
        {
            "base-url": BASE,
            "headers": {"Authorization": f"Bearer {token('sue')}"},
            "generation": {"max-examples": 3, "database": "none", "deterministic": True},
            "phases": {
                "examples": {"enabled": False},
                "stateful": {"enabled": False},
                "coverage": {"unexpected-methods": ["DELETE"]},
            },
            "operations": [
                {"include-path-regex": "(approve|deny|close|kept)$", "checks": lacks_a_reason},
                # No list of another operation names it, as those of requests do.
                {"include-path-regex": "end$", "checks": lacks_a_reason, "parameters": {"path.id": "window01"}},
            ],
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app = working.app
    statuses: dict[str, Counter[int]] = defaultdict(Counter)
    failures: list[str] = []
    for event in from_schema(schema).execute():
        assert "Error" not in type(event).__name__, event
        if not isinstance(event, ScenarioFinished):
            continue
        for interaction in event.recorder.interactions.values():
            if interaction.response is not None:
                statuses[event.recorder.label][interaction.response.status_code] += 1
        for checks in event.recorder.checks.values():
            failures += [
                f"{event.recorder.label} {check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
                for check in checks
                if check.failure_info is not None
            ]
    assert failures == []
    assert len(statuses) == len(OPERATIONS)
    assert [label for label, found in statuses.items() if not (found[200] and found[401])] == []
    assert not any(status >= 500 for found in statuses.values() for status in found)


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert len(list(calls(document))) == len(OPERATIONS)
    summaries = [described["summary"] for methods in document["paths"].values() for described in methods.values()]
    assert all(summary.endswith(".") for summary in summaries)


@pytest.mark.parametrize(
    "headers", [{}, *({"Authorization": text} for text in ("Bearer x", "Bearer", "Basic YTpi", "bearer "))]
)
def test_who_is_not_known_gets_nothing(working: Working, document: dict[str, Any], headers: dict[str, str]) -> None:
    client = TestClient(working.app, base_url=BASE, headers=headers)
    size = working.guard.ledger.size
    for method, address, more in [*calls(document), ("GET", f"{API}/nothing", {}), ("DELETE", f"{API}/requests", {})]:
        answer = client.request(method, address, **more)
        assert (answer.status_code, answer.json()) == (401, NOBODY), address
        assert answer.headers["www-authenticate"] == "Bearer"
    assert working.guard.ledger.size == size


@pytest.mark.parametrize("claims", [{"exp": 1}, {"aud": "another"}, {"iss": "https://evil.example.com"}, {"sub": ""}])
def test_a_token_that_is_not_good_is_no_token(working: Working, claims: dict[str, object]) -> None:
    client = TestClient(working.app, base_url=BASE, headers={"Authorization": f"Bearer {token('sue', **claims)}"})
    answer = client.get(f"{API}/requests")
    assert (answer.status_code, answer.json()) == (401, NOBODY)


def test_an_agent_with_somebodys_token_is_not_that_person(working: Working, document: dict[str, Any]) -> None:
    client = TestClient(working.app, base_url=BASE, headers={"Authorization": f"Bearer {token('sue', act={'sub': 'a-bot'})}"})
    for method, address, more in calls(document):
        answer = client.request(method, address, **more)
        assert (answer.status_code, answer.json()["code"]) == (403, "identity.role_missing"), address


def test_who_may_not_look_gets_nothing(working: Working, document: dict[str, Any]) -> None:
    client = working.client("nil")
    for method, address, more in calls(document):
        answer = client.request(method, address, **more)
        assert answer.status_code == 403, address
        assert answer.json()["code"] == "identity.role_missing"
        assert "ana@" not in answer.text


def test_roles_hold_for_every_operation(working: Working, document: dict[str, Any]) -> None:
    size = working.guard.ledger.size
    client = working.client("vic")
    refused = {
        address for method, address, more in calls(document) if client.request(method, address, **more).status_code == 403
    }
    needing = {o.path for o in OPERATIONS if "viewer" not in o.roles} | {"/entries/{index}/kept"}
    filled = {API + re.sub(r"\{(\w+)\}", lambda name: MADE_UP[name[1]], path) for path in needing}
    assert refused == filled
    assert len(filled) > 4
    assert working.guard.ledger.size == size


@pytest.mark.parametrize("name", sorted(PEOPLE.keys() - {"nil"}))
def test_values_are_only_for_who_may_answer_or_has_asked(working: Working, document: dict[str, Any], name: str) -> None:
    client = working.client(name)
    ids = {"/requests/{id}": ["open0001", "nope0001", "done0001", "window01"], "/reviews/{id}": ["review01", "review02"]}
    told = [client.get(address, **more).text for method, address, more in calls(document) if method == "GET"]
    told += [client.get(API + path.format(id=id_)).text for path, known in ids.items() for id_ in known]
    told += [client.get(f"{API}/reviews?is_open=false").text, client.get(f"{API}/entries?limit=200").text]
    told += [client.get(f"{API}/entries/{index}").text for index in range(working.guard.ledger.size)]
    decoded = [base64.b64decode(found) for text in told for found in re.findall(r'"leaf":"([^"]+)"', text)]
    assert not any(SECRET.encode() in leaf for leaf in decoded)
    is_seen = any(SECRET in text for text in told)
    assert is_seen == (name in ("ana", "lea", "lee", "sue"))
    request = client.get(f"{API}/requests/open0001").json()
    assert request["is_complete"] == is_seen
    assert (request["digest"] is None) != is_seen
    assert request["objection"] == {"lea": None, "lee": None, "sue": None, "ana": "approval.not_approver"}.get(
        name, "approval.not_approver"
    )


def test_kept_values_are_for_the_person_and_for_auditors_who_say_why(working: Working) -> None:
    entries = working.client("ana").get(f"{API}/entries", params={"type": "intent"}).json()["items"]
    address = f"{API}/entries/{entries[-1]['index']}/kept"
    for name in ("vic", "lee", "lea"):
        answer = working.client(name).post(address, json={"reason": "curious"})
        assert answer.status_code == 403
        assert base64.b64encode(SECRET.encode()).decode()[:8] not in answer.text
    assert working.client("ada").post(address, json={}).status_code == 422
    before = working.guard.ledger.size
    for name, why in (("ada", {"reason": "an audit"}), ("ana", {})):
        kept = working.client(name).post(address, json=why).json()["values"]
        assert SECRET in base64.b64decode(kept["sql"]).decode()
    viewed = list(working.guard.ledger.entries(before))
    assert [(entry["type"], entry["by"]["id"]) for entry in viewed] == [  # type: ignore[index]
        ("values.viewed", "ada@example.com"),
        ("values.viewed", "ana@example.com"),
    ]


def test_answers_count_as_they_do_on_the_pages(working: Working) -> None:
    working.ask("two00001", terms=working.desk.get("open0002").terms)
    address = f"{API}/requests/two00001"
    own = working.client("ana").post(f"{address}/approve", json={"reason": "mine"})
    assert (own.status_code, own.json()["code"]) == (403, "identity.role_missing")
    first = working.client("lee").post(f"{address}/approve", json={"reason": "fine"}).json()
    assert (first["state"], [vote["by"] for vote in first["votes"]]) == ("pending", ["lee@example.com"])
    assert working.client("lee").post(f"{address}/approve", json={"reason": "again"}).json()["code"] == "approval.voted"
    second = working.client("sue").post(f"{address}/approve", json={"reason": "fine"}).json()
    assert second["state"] == "approved"
    late = working.client("lea").post(f"{address}/deny", json={})
    assert (late.status_code, late.json()["code"]) == (409, "approval.closed")
    recorded = working.guard.ledger.entry(second["votes"][1]["entry"])
    assert (recorded["type"], recorded["request"]) == ("approval.decided", "two00001")


def test_windows_and_reviews_are_ended_by_who_may(working: Working) -> None:
    working.ask("window02", kind="grant", window_s=600)
    working.desk.approve("window02", person("lee"), "fine", working.now)
    assert "window02" in [item["id"] for item in working.client("vic").get(f"{API}/windows").json()["items"]]
    assert working.client("vic").post(f"{API}/windows/window02/end").status_code == 403
    assert working.client("ana").post(f"{API}/windows/window02/end").json()["state"] == "ended"
    working.review("review03")
    own = working.client("lea").post(f"{API}/reviews/review03/close", json={"comment": "my own"})
    assert own.json()["code"] == "approval.self"
    closed = working.client("lee").post(f"{API}/reviews/review03/close", json={"comment": "it was right"}).json()
    assert (closed["closed_by"], closed["comment"]) == ("lee@example.com", "it was right")


def test_a_browser_may_use_it_with_the_token_of_its_forms(working: Working) -> None:
    client = working.browser("lee")
    form_token = working.form_token(client)
    working.ask("form0001")
    address, body = f"{API}/requests/form0001/approve", {"reason": "so"}
    assert client.get(f"{API}/me").json()["id"] == "lee@example.com"
    for headers in (
        {},
        {"X-CSRF-Token": "forged"},
        {"X-CSRF-Token": form_token, "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF-Token": form_token, "Origin": "https://evil.example.com"},
    ):
        assert client.post(address, json=body, headers=headers).json()["code"] == "identity.form_forged"
    bad = client.post(address, json=body, headers={"X-CSRF-Token": form_token, "Authorization": "Bearer x"})
    assert bad.status_code == 401
    good = client.post(address, json=body, headers={"X-CSRF-Token": form_token})
    assert good.json()["state"] == "approved"


def test_a_dry_run_for_somebody_else_is_for_auditors(working: Working) -> None:
    sql = "SELECT name, salary FROM employees"
    asked = {"sql": sql, "principal": {"id": "fay@example.com", "groups": ["finance"]}, "purpose": "payroll"}
    refused = working.client("ana").post(f"{API}/check", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (403, "identity.role_missing")
    own = working.client("ana").post(f"{API}/check", json={"sql": sql}).json()
    assert (own["effect"], own["code"], own["relations"], own["sql"]) == ("deny", "sql.relation_unknown", [], None)
    whole = working.client("ada").post(f"{API}/check", json=asked).json()
    assert whole["effect"] == "allow"
    assert "employees" in whole["sql"]
    assert {column["name"]: column["fate"] for column in whole["relations"][0]["columns"]} == {
        "name": "read",
        "salary": "masked",
    }
    assert "".join(piece["text"] for piece in whole["pieces"]) == sql


def test_proofs_hold_without_this_library_on_the_other_side(working: Working) -> None:
    client = working.client("vic")
    evidence = client.get(f"{API}/proofs/inclusion/3").json()
    head = Checkpoint.parse(evidence["note"].partition("\n\n")[0] + "\n")
    leaf = base64.b64decode(evidence["leaf"])
    proof = [base64.b64decode(digest) for digest in evidence["proof"]]
    verify_inclusion(leaf_hash(leaf), 3, head.size, proof, head.root)
    assert json.loads(leaf) == client.get(f"{API}/entries/3").json()["entry"]
    consistency = client.get(f"{API}/proofs/consistency", params={"old": 4, "new": head.size}).json()["proof"]
    nodes = [base64.b64decode(digest) for digest in consistency]
    verify_consistency(4, head.size, working.guard.ledger.root_at(4), head.root, nodes)


def test_a_tampered_ledger_is_told_and_breaks_nothing(tmp_path: Path, document: dict[str, Any]) -> None:
    with open_console(tmp_path) as opened:
        true = opened.guard.ledger.leaf(3)
        forged = true.replace(b"ana@example.com", b"eve@example.com")
        with closing(sqlite3.connect(tmp_path / "audit.db")) as connection:
            connection.execute("UPDATE entries SET leaf = ? WHERE idx = 3", (forged,))
            connection.commit()
        client = opened.client("sue")
        assert base64.b64decode(client.get(f"{API}/entries/3").json()["leaf"]) == forged
        kept = client.post(f"{API}/entries/3/kept", json={"reason": "an audit"})
        assert (kept.status_code, kept.json()["code"]) == (409, "ledger.tampered")
        answers = [client.request(method, address, **more) for method, address, more in calls(document)]
        assert [answer.url for answer in answers if answer.status_code >= 500] == []


def test_lists_are_walked_page_by_page(working: Working) -> None:
    client = working.client("vic")
    for path in ("requests", "entries", "sessions"):
        whole = walk(client, path, 200)
        assert whole == walk(client, path, 2)
        assert len(whole) == len(set(whole))


def walk(client: httpx.Client, path: str, limit: int) -> list[object]:
    found: list[object] = []
    wanted: dict[str, Any] = {"limit": limit}
    while True:
        page = client.get(f"{API}/{path}", params=wanted).json()
        found += [item.get("id", item.get("index")) for item in page["items"]]
        if page["next"] is None:
            return found
        wanted["before"] = page["next"]
