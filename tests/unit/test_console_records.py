"""Sessions, entries and figures as people get them: complete, safe to look at, and without values for those who may not see them."""

from __future__ import annotations

import html
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from starlette.testclient import TestClient

from guardrails import Principal
from guardrails.console import create_app
from guardrails.console.plotting import bars, histogram, stacked
from guardrails.console.projection import Projection
from guardrails.console.projection.queries import Queries
from guardrails.conversation import message_entry
from guardrails.errors import UsageError
from guardrails.ledger import Ledger, Private
from guardrails.ledger.verify import verify
from guardrails.model import Context
from tests.support.console_demo import ANA, BO, KIM, ConsoleDemo, open_demo

ADDRESS = "http://127.0.0.1:8600"
PLANTED = "The customer says: call me at seven"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\u202e"


class Site:
    """A console over the demo's shop, and people who are signed in to it."""

    def __init__(self, demo: ConsoleDemo, projection: Projection) -> None:
        self.demo = demo
        self.queries = Queries(projection)
        self.ledger: Ledger = demo.console.ledger
        self._app = create_app(replace(demo.console, projection=projection))
        self._clients: dict[tuple[str, str | None, str], TestClient] = {}

    def of(self, who: Principal) -> TestClient:
        known = who.id, who.issuer, who.verified
        if known not in self._clients:
            found = TestClient(self._app, base_url=ADDRESS, follow_redirects=False)
            token = self.demo.link(who).partition("token=")[2]
            assert found.post("/signin/link", data={"token": token}).status_code == 303
            self._clients[known] = found
        return self._clients[known]

    def values(self, who: Principal, session: str, **fields: str) -> tuple[int, str]:
        client = self.of(who)
        token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/sessions").text)
        assert token
        answer = client.post(f"/sessions/{session}/values", data={"csrf_token": token[1], **fields})
        return answer.status_code, html.unescape(answer.text)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        demo = stack.enter_context(open_demo(tmp_path_factory.mktemp("records"), sessions=2, settings={"sign_in_tries": 1000}))
        projection = stack.enter_context(Projection.open(demo.console.ledger))
        with demo.guard.session(principal=ANA, agent="talking-bot", purpose="support", conversation_id="c-17") as session:
            entry, private = message_entry("user", PLANTED, session.context)
            demo.guard.ledger.append(entry, private={name: Private(value, keep=True) for name, value in private.items()})
            demo.guard.execute("SELECT id, name FROM customers WHERE id = :id", {"id": 17})
        projection.refresh()
        yield Site(demo, projection)


@pytest.fixture
def talk(site: Site) -> str:
    return next(row.id for row in site.queries.sessions() if row.agent == "talking-bot")


def test_a_session_is_told_again_without_a_value(site: Site, talk: str) -> None:
    page = site.of(BO).get(f"/sessions/{talk}")
    assert page.status_code == 200
    text = html.unescape(re.sub(r"<[^>]+>", "", page.text))
    for told in (
        "Session begins",
        "Message",
        "from user",
        "SELECT id, name FROM customers WHERE id = :id",
        "What came back",
        "1 rows",
    ):
        assert told in text, told
    assert PLANTED not in page.text
    assert "Values are for the person it was for" in text
    assert f"/sessions/{talk}/values" not in page.text


def test_every_kind_of_step_of_the_demo_is_told(site: Site) -> None:
    pages = "".join(site.of(BO).get(f"/sessions/{row.id}").text for row in site.queries.sessions())
    for told in (
        "Asks for approval",
        "Answer",
        "bo@example.com",
        "break_glass",
        "Refused",
        "policy.denied",
        "Came back masked",
    ):
        assert told in pages, told
    assert "warehouse in the north" not in pages, "a reason is a value"


def test_auditors_see_kept_values_and_the_ledger_says_so(site: Site, talk: str) -> None:
    before = site.ledger.size
    status, text = site.values(KIM, talk, reason="complaint 17")
    assert status == 200
    assert PLANTED in text
    assert "{'id': 17}" in text
    recorded = site.ledger.entry(before)
    assert (recorded["type"], recorded["of"]) == ("values.viewed", talk)
    assert recorded["by"] == {"id": KIM.id, "issuer": None, "verified": "unverified"}
    assert "complaint" not in json.dumps(recorded)
    assert verify(site.ledger.path or "", level="signatures").problems == (), "it is signed by whom it should be"
    assert "Kept values shown" in site.of(BO).get(f"/sessions/{talk}").text


def test_auditors_say_why(site: Site, talk: str) -> None:
    before = site.ledger.size
    status, text = site.values(KIM, talk, reason="  ")
    assert (status, PLANTED in text, site.ledger.size) == (422, False, before)


def test_people_see_the_values_of_their_own_sessions(site: Site, talk: str) -> None:
    status, text = site.values(ANA, talk)
    assert status == 200
    assert PLANTED in text


@pytest.mark.parametrize(
    "who",
    [
        BO,
        Principal("ANA@example.com", frozenset({"support"})),
        Principal("ana@example.com", frozenset({"support"}), issuer="https://elsewhere.example.com", verified="jwt"),
    ],
)
def test_nobody_else_does(site: Site, talk: str, who: Principal) -> None:
    before = site.ledger.size
    status, text = site.values(who, talk, reason="I want to")
    assert (status, PLANTED in text, site.ledger.size) == (403, False, before)


def test_who_merely_says_so_is_not_the_person_of_a_verified_session(site: Site) -> None:
    verified = replace(ANA, issuer="https://id.example.com", verified="jwt")
    with site.demo.guard.session(principal=verified, agent="sure-bot", purpose="support"):
        site.demo.guard.execute("SELECT name FROM customers WHERE id = :id", {"id": 3})
    site.of(BO).get("/sessions")
    session = next(row.id for row in site.queries.sessions() if row.agent == "sure-bot")
    assert site.values(ANA, session)[0] == 403
    assert site.values(replace(ANA, issuer="https://id.example.com"), session)[0] == 403


def test_erased_values_are_gone_from_the_page(site: Site) -> None:
    with site.demo.guard.session(principal=ANA, agent="erased-bot", purpose="support", subjects=["customer-3"]) as session:
        entry, private = message_entry("user", "seven secrets", session.context)
        given = {name: Private(value, keep=True, subjects=("customer-3",)) for name, value in private.items()}
        site.demo.guard.ledger.append(entry, private=given)
    site.of(BO).get("/sessions")
    told = next(row.id for row in site.queries.sessions() if row.agent == "erased-bot")
    assert "seven secrets" in site.values(ANA, told)[1]
    site.demo.guard.ledger.erase_subject("customer-3")
    status, text = site.values(ANA, told)
    assert (status, "seven secrets" in text, "Not kept, or erased since" in text) == (200, False, True)


def test_hostile_entries_are_shown_as_text(site: Site) -> None:
    ledger = site.demo.guard.ledger
    session = "s/../?" + HOSTILE
    facts = {"principal": {"id": HOSTILE, "groups": [HOSTILE, 3], "verified": HOSTILE}, "agent": {"name": HOSTILE}}
    intent = ledger.append(
        facts
        | {
            "type": "intent",
            "session": session,
            "statement": {"normalised": HOSTILE, "reads": [HOSTILE, None], "relations": {"a": 1}},
            "decision": {"effect": HOSTILE, "masks": [1, {"column": HOSTILE}], "rules": [HOSTILE], "reasons": "x"},
            "approval": {"request": HOSTILE, "approver": HOSTILE, "approvers": [1]},
        }
    )
    ledger.append({"type": "outcome", "session": session, "intent": intent.entry_id, "status": HOSTILE, "rows": HOSTILE})
    ledger.append({"type": HOSTILE, "session": session, "text": HOSTILE})
    ledger.append({"type": "refusal", "session": session, "action": {"name": HOSTILE, "arguments": HOSTILE}})
    ledger.append({"session": session, "decision": 1, "time_of_day": HOSTILE})
    client = site.of(KIM)
    client.get("/ledger")
    pages = ["/sessions", "/ledger", "/statistics?period=day", "/statistics?period=all"]
    pages += [f"/ledger/{index}" for index in range(intent.index, ledger.size)]
    row = client.get("/sessions", params={"principal": HOSTILE}).text
    found = re.search(r'href="(/sessions/[^"]+)" ?', row.partition("<tbody>")[2])
    assert found
    pages.append(html.unescape(found[1]))
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == 200, page
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ledger/999999", 404),
        ("/ledger/99999999999999999999999", 404),
        ("/ledger/x", 404),
        ("/ledger/-1", 404),
        ("/ledger?before=999999999999999999", 200),
        ("/ledger?before=99999999999999999999&at=x9", 400),
        ("/ledger?at=2026-01-31", 200),
        ("/ledger?at=0001-01-01T00:00+14:00", 400),
        ("/ledger?kind=nothing&principal=nobody&session=none", 200),
        ("/ledger/proofs?index=x", 400),
        ("/ledger/proofs?index=999999999", 200),
        ("/ledger/consistency?from=0&to=1", 400),
        ("/ledger/consistency?from=2&to=1", 400),
        ("/ledger/consistency?from=1&to=999999999", 200),
        ("/sessions/unknown", 404),
        ("/sessions?before=x", 200),
        ("/sessions/0", 200),
        ("/sessions/1", 404),
        ("/sessions/999999999999999999999", 404),
        ("/statistics?period=century", 404),
    ],
)
def test_odd_addresses_are_answered(site: Site, path: str, status: int) -> None:
    assert site.of(BO).get(path).status_code == status


def test_too_many_proofs_at_once_are_refused(site: Site) -> None:
    assert site.of(BO).get("/ledger/proofs", params=[("index", n) for n in range(201)]).status_code == 400


def test_a_long_session_has_pages(site: Site) -> None:
    with site.demo.guard.session(principal=ANA, agent="long-bot", purpose="support"):
        for _ in range(40):
            site.demo.guard.execute("SELECT id FROM products WHERE id = 1")
    client = site.of(BO)
    client.get("/sessions")
    session = next(row for row in site.queries.sessions() if row.agent == "long-bot")
    address, seen = f"/sessions/{session.id}", set[str]()
    while address:
        page = client.get(address).text
        seen |= set(re.findall(r'data-entry="(\d+)"', page))
        following = re.search(r'href="([^"]+after=\d+)">What followed', page)
        address = html.unescape(following[1]) if following else ""
    assert len(seen) == 81


def test_figures_are_told_to_readers_who_see_no_picture(site: Site) -> None:
    page = site.of(BO).get("/statistics?period=day").text
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) >= 3
    for plot in plots:
        root = ElementTree.fromstring(plot)
        ids = {element.get("id") for element in root.iter()}
        assert root.get("role") == "img"
        assert set((root.get("aria-labelledby") or "").split()) <= ids
        assert all(element.text for element in root if element.tag in ("title", "desc"))
    assert page.count("<table") >= len(plots) + 1
    assert "style=" not in page, "the content security policy lets no style in"
    for shown in ("nobody-drops", "customers.email", "max@example.com", "Median"):
        assert shown in page, shown


def test_plots_stay_within_their_box() -> None:
    for counts in ([0, 0], [1, 0, 3], [10**9, 1], [5] * 60):
        plot = stacked("p", "t", [str(n) for n in range(len(counts))], [("good", "a", counts), ("bad", "b", counts[::-1])])
        assert plot.is_empty == (sum(counts) == 0)
        for mark in plot.marks:
            assert 0 <= mark.x <= mark.x + mark.width <= plot.width
            assert 0 <= mark.y <= mark.y + mark.height <= plot.height
        assert len(plot.labels) <= 7 + 6
    assert bars("p", "t", [], tone="bad", heads=("a", "b")).is_empty
    assert bars("p", "t", [("x" * 99, 3)], tone="bad", heads=("a", "b")).rows == (("x" * 99, "3"),)
    assert histogram("p", "t", [], [], heads=("a", "b", "c")).is_empty


def test_a_ledger_that_contradicts_itself_is_still_shown(site: Site, tmp_path: Path) -> None:
    with ExitStack() as stack:
        demo = stack.enter_context(open_demo(tmp_path, sessions=1, settings={"sign_in_tries": 1000}))
        projection = stack.enter_context(Projection.open(demo.console.ledger))
        damaged = Site(demo, projection)
        client = damaged.of(BO)
        client.get("/ledger")
        with sqlite3.connect(tmp_path / "audit.db") as connection:
            connection.execute("UPDATE entries SET leaf = replace(leaf, 'intent', 'intend') WHERE idx = 1")
            connection.execute("UPDATE head SET note = replace(note, 'ledger.local', 'ledger.other')")
        for path in ("/ledger", "/ledger/1", "/sessions", "/statistics", "/ledger/proofs?index=1"):
            assert client.get(path).status_code == 200, path
        assert "contradicts itself" in client.get("/ledger").text
        demo.console.ledger._pins = None


def test_a_console_without_a_projection_says_so(site: Site) -> None:
    client = TestClient(create_app(replace(site.demo.console, projection=None)), base_url=ADDRESS, follow_redirects=False)
    token = site.demo.link(BO).partition("token=")[2]
    client.post("/signin/link", data={"token": token})
    assert client.get("/statistics").status_code == 503


def test_a_message_is_from_somebody() -> None:
    entry, private = message_entry("assistant", "Done \ud800", Context(session_id="s", conversation_id="c"))
    assert entry == {
        "type": "message",
        "session": "s",
        "role": "assistant",
        "bytes": 11,
        "conversation": "c",
        "tool": None,
        "tool_call": None,
    }
    assert private == {"message": b"Done \\ud800"}
    with pytest.raises(UsageError, match="user"):
        message_entry("narrator", "", Context())
