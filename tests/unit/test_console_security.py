"""Nobody gets anything from the console without being signed in, from another site, twice by one link, or beyond their groups."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route
from starlette.testclient import TestClient

from guardrails import Principal
from guardrails.console import ConsoleSettings, create_app
from guardrails.console.app import PAGES
from guardrails.console.pages.signing_in import local_path, one_time_link
from guardrails.console.security import RateLimit
from guardrails.console.sessions import cookie_name
from guardrails.console.signins import principal_fields
from guardrails.console.tickets import Tickets
from guardrails.errors import IdentityError, UsageError
from tests.support.console_demo import ANA, BO, KIM, LEA, ConsoleDemo, open_demo

ADDRESS = "http://127.0.0.1:8600"
ROOT = Path(__file__).resolve().parents[2]
LITERALS = ("131", "132", "cancelled", "'north'", "recalled kettles", "Lost parcels", "charges twice", "warehouse")
"""Values that stand in statements of the demo's requests, and words of requesters and approvers."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleDemo]:
    with open_demo(tmp_path_factory.mktemp("console"), sessions=1, settings={"sign_in_tries": 10_000}) as opened:
        yield opened


@pytest.fixture(scope="module")
def app(demo: ConsoleDemo) -> Starlette:
    return create_app(demo.console)


def client_of(app: Starlette) -> TestClient:
    return TestClient(app, base_url=ADDRESS, follow_redirects=False)


def signed_in(demo: ConsoleDemo, app: Starlette, who: Principal) -> TestClient:
    client = client_of(app)
    token = demo.link(who).partition("token=")[2]
    assert client.post("/signin/link", data={"token": token}).status_code == 303
    return client


def csrf_token(client: TestClient) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/inbox").text)
    assert found
    return found[1]


def addresses(routes: list[BaseRoute]) -> list[str]:
    return [re.sub(r"\{[^}]+\}", "1", route.path) for route in routes if isinstance(route, Route)]


def test_who_is_not_signed_in_gets_nothing(app: Starlette) -> None:
    client = client_of(app)
    public = {"/signin", "/signin/link", "/signin/provider", "/signin/callback", "/static/1"}
    guarded = [address for address in addresses(app.routes) if address not in public]
    assert len(guarded) > 8
    for address in guarded:
        for answer in (client.get(address), client.post(address, data={"answer": "approve"})):
            assert answer.status_code in (303, 401, 405), address
            assert "example.com" not in answer.text
        asked_by_htmx = client.get(address, headers={"HX-Request": "true"})
        assert asked_by_htmx.status_code in (401, 405)
        assert asked_by_htmx.text == "" or asked_by_htmx.status_code == 405 or address.startswith("/api")


def test_a_page_that_does_not_say_who_may_see_it_is_not_served(demo: ConsoleDemo, monkeypatch: pytest.MonkeyPatch) -> None:
    def leak(request: Request) -> PlainTextResponse:
        return PlainTextResponse("everything")

    monkeypatch.setattr(PAGES[0], "ROUTES", [Route("/leak", leak)])
    with pytest.raises(UsageError, match="does not say who may see it"):
        create_app(demo.console)


def test_every_answer_carries_the_headers(app: Starlette, demo: ConsoleDemo) -> None:
    client = signed_in(demo, app, LEA)
    icon = re.search(r'href="(/static/icon[^"]+)"', client.get("/inbox").text)
    assert icon
    answers = [client.get(path) for path in ("/inbox", "/nowhere", "/signin", "/static/console.css", icon[1])]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answers[-1].headers["cache-control"]
    assert answers[0].headers["cache-control"] == "no-store"


def test_templates_have_nothing_that_the_policy_forbids() -> None:
    for template in (ROOT / "guardrails" / "console" / "templates").glob("*.html"):
        text = template.read_text("utf-8")
        forbidden = re.findall(r"\sstyle=|<style|<script(?![^>]*\ssrc=)|\son[a-z]+=|hx-on|javascript:|https?://", text)
        assert forbidden == [], template.name
        assert "| safe" not in text, template.name


def test_a_foreign_host_is_turned_away(app: Starlette) -> None:
    assert client_of(app).get("/signin", headers={"host": "rebound.example.net"}).status_code == 421


@pytest.mark.parametrize("headers", [{"content-length": "300000"}, {"transfer-encoding": "chunked"}, {"content-length": "x"}])
def test_a_large_or_endless_body_is_not_read(app: Starlette, headers: dict[str, str]) -> None:
    assert client_of(app).post("/signin/link", headers=headers, content=b"").status_code == 413


def test_a_link_is_good_once_and_looking_at_it_uses_nothing_up(app: Starlette, demo: ConsoleDemo) -> None:
    token = demo.link(LEA).partition("token=")[2]
    client = client_of(app)
    for _ in range(2):
        assert client.get("/signin/link", params={"token": token}).status_code == 200
    assert client.post("/signin/link", data={"token": token}).status_code == 303
    again = client_of(app).post("/signin/link", data={"token": token})
    assert again.status_code == 410
    assert "identity.link_invalid" in again.text


def test_an_expired_link_is_refused(demo: ConsoleDemo, tmp_path: Path) -> None:
    now = [1_000_000.0]
    tickets = Tickets.open(tmp_path / "audit.db", clock_s=lambda: now[0])
    token = tickets.issue("link", {}, lifetime_s=300)
    now[0] += 299
    assert tickets.read("link", token) == {}
    now[0] += 1
    assert tickets.read("link", token) is None
    assert tickets.take("link", token) is None
    tickets.close()


def test_a_link_from_another_site_does_not_sign_in(app: Starlette, demo: ConsoleDemo) -> None:
    token = demo.link(LEA).partition("token=")[2]
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://example.net"}, {"origin": "null"}):
        assert client_of(app).post("/signin/link", data={"token": token}, headers=headers).status_code == 403


def test_tickets_of_another_kind_or_written_by_hand_do_not_count(tmp_path: Path) -> None:
    tickets = Tickets.open(tmp_path / "audit.db", secret=b"s" * 32)
    token = tickets.issue("link", {"id": "lea"}, lifetime_s=60)
    assert tickets.take("session", token) is None
    database = sa.create_engine(f"sqlite:///{tmp_path / 'audit.db.tickets'}")
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE console_tickets SET kind = 'session'"))
    assert tickets.read("session", token) is None
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE console_tickets SET kind = 'link', data = '{\"id\": \"bo\"}'"))
    assert tickets.read("link", token) is None
    others = Tickets.open(tmp_path / "audit.db", secret=b"t" * 32)
    assert others.read("link", tickets.issue("link", {}, lifetime_s=60)) is None
    assert token not in (tmp_path / "audit.db.tickets").read_bytes().decode("latin-1")
    assert (tmp_path / "audit.db.tickets").stat().st_mode & 0o077 == 0
    for opened in (tickets, others):
        opened.close()
    database.dispose()


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({}, {}),
        ({"csrf_token": "forged"}, {}),
        ({"csrf_token": ""}, {}),
        ({"csrf_token": "TOKEN"}, {"origin": "https://example.net"}),
        ({"csrf_token": "TOKEN"}, {"sec-fetch-site": "cross-site"}),
        ({"csrf_token": "TOKEN"}, {"sec-fetch-site": "same-site"}),
    ],
)
def test_a_forged_form_changes_nothing(
    app: Starlette, demo: ConsoleDemo, form: dict[str, str], headers: dict[str, str]
) -> None:
    client = signed_in(demo, app, LEA)
    token = csrf_token(client)
    sent = {name: value.replace("TOKEN", token) for name, value in form.items()} | {"answer": "approve", "reason": "forged"}
    answer = client.post(f"/requests/{demo.requests['refund']}/answer", data=sent, headers=headers)
    assert answer.status_code == 403
    assert "identity.form_forged" in answer.text
    assert demo.guard.desk.status(demo.requests["refund"], now=int(time.time())).state == "pending"


def test_a_token_of_another_sign_in_does_not_do(app: Starlette, demo: ConsoleDemo) -> None:
    theirs = csrf_token(signed_in(demo, app, BO))
    client = signed_in(demo, app, LEA)
    form = {"csrf_token": theirs, "answer": "deny", "reason": "no"}
    assert client.post(f"/requests/{demo.requests['refund']}/answer", data=form).status_code == 403


def test_requesters_and_people_outside_of_the_groups_cannot_answer(app: Starlette, demo: ConsoleDemo) -> None:
    requester_in_the_group = Principal("Ana@Example.com", frozenset({"leads"}))
    in_another_group = Principal("pat@example.com", frozenset({"privacy"}))
    refused = (
        (requester_in_the_group, "Requesters cannot answer their own request."),
        (in_another_group, "The approver is not in any of the groups"),
        (ANA, "Your groups may not answer requests in this console."),
        (KIM, "Your groups may not answer requests in this console."),
    )
    for who, told in refused:
        client = signed_in(demo, app, who)
        assert "<textarea" not in client.get(f"/requests/{demo.requests['refund']}").text
        form = {"csrf_token": csrf_token(client), "answer": "approve", "reason": "I say so"}
        answer = client.post(f"/requests/{demo.requests['refund']}/answer", data=form)
        assert answer.status_code == 403
        assert told in re.sub(r"<[^>]+>", "", answer.text)
    assert demo.guard.desk.status(demo.requests["refund"], now=int(time.time())).state == "pending"


def test_who_may_not_answer_sees_no_value(app: Starlette, demo: ConsoleDemo) -> None:
    shown = signed_in(demo, app, LEA).get(f"/requests/{demo.requests['quorum']}").text
    assert "cancelled" in shown
    for who in (KIM, Principal("privacy@example.com", frozenset({"privacy"}))):
        client = signed_in(demo, app, who)
        pages = ["/inbox", "/inbox?state=approved", "/inbox?state=denied", "/live", "/reviews", "/windows"]
        pages += [f"/requests/{demo.requests[name]}" for name in ("quorum", "refund", "window", "open_window")]
        pages.append(f"/reviews/{demo.requests['review']}")
        for page in pages:
            answer = client.get(page)
            assert answer.status_code == 200
            body = re.sub(
                r"/(requests|sessions|reviews|ledger|static)/[^\"]*|<code>[0-9a-f]{12}</code>|id=\"[^\"]*\"", "", answer.text
            )
            assert [value for value in LITERALS if value in body] == [], (who.id, page)


def test_a_yes_without_its_reason_is_asked_again_and_what_was_typed_stays(app: Starlette, demo: ConsoleDemo) -> None:
    client = signed_in(demo, app, LEA)
    token = csrf_token(client)
    answer = client.post(f"/requests/{demo.requests['window']}/answer", data={"csrf_token": token, "answer": "approve"})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    wrong = client.post(f"/requests/{demo.requests['window']}/answer", data={"csrf_token": token, "reason": "<b>x</b>"})
    assert wrong.status_code == 400
    late = client.post(
        f"/requests/{demo.requests['denied']}/answer", data={"csrf_token": token, "answer": "deny", "reason": "<b>x</b>"}
    )
    assert late.status_code == 409
    assert "<b>x</b>" not in late.text


def test_signing_out_ends_the_session_and_not_only_the_cookie(app: Starlette, demo: ConsoleDemo) -> None:
    client = signed_in(demo, app, LEA)
    name = cookie_name(demo.console.settings)
    stolen = client.cookies[name]
    assert client.post("/signout", data={"csrf_token": csrf_token(client)}).status_code == 303
    assert client_of(app).get("/inbox", headers={"cookie": f"{name}={stolen}"}).status_code == 303


def test_a_sign_in_ends_with_the_token_behind_it(app: Starlette, demo: ConsoleDemo) -> None:
    now = int(time.time())
    for expires_at, status in ((now + 60, 200), (now, 303)):
        lea = Principal("lea@example.com", frozenset({"leads"}), expires_at=expires_at)
        kept = {"principal": principal_fields(lea), "csrf_token": "t"}
        token = demo.console.tickets.issue("session", kept, lifetime_s=60)
        cookie = f"{cookie_name(demo.console.settings)}={token}"
        assert client_of(app).get("/inbox", headers={"cookie": cookie}).status_code == status
        link = demo.link(lea).partition("token=")[2]
        signed_in_at_all = client_of(app).post("/signin/link", data={"token": link})
        assert signed_in_at_all.status_code == (303 if status == 200 else 403)


def test_groups_that_may_not_look_cannot_sign_in(demo: ConsoleDemo) -> None:
    closed = replace(demo.console, settings=replace(demo.console.settings, viewer_groups=frozenset({"leads"})))
    for who, status in ((ANA, 403), (BO, 303), (KIM, 303)):
        token = one_time_link(closed, who).partition("token=")[2]
        assert client_of(create_app(closed)).post("/signin/link", data={"token": token}).status_code == status


def test_cookies_are_out_of_reach_of_scripts_and_of_plain_http(app: Starlette, demo: ConsoleDemo) -> None:
    token = demo.link(LEA).partition("token=")[2]
    cookie = client_of(app).post("/signin/link", data={"token": token}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert cookie_name(ConsoleSettings("https://console.example.com")).startswith("__Host-")


def test_tries_to_sign_in_are_counted(demo: ConsoleDemo) -> None:
    now = [0.0]
    limit = RateLimit(3, clock_s=lambda: now[0])
    for _ in range(3):
        limit.require("192.0.2.1")
    limit.require("192.0.2.2")
    with pytest.raises(IdentityError) as caught:
        limit.require("192.0.2.1")
    assert caught.value.code == "identity.too_many_tries"
    now[0] = 61
    limit.require("192.0.2.1")


@pytest.mark.parametrize(
    "given", ["//example.net", "https://example.net", "/\\example.net", "javascript:x", "/signin", "", "/a\nb"]
)
def test_signing_in_leads_to_pages_of_the_console_only(given: str) -> None:
    assert local_path(given) == "/"
    assert local_path("/requests/1?x=2") == "/requests/1?x=2"


@pytest.mark.parametrize(
    "given", ["console.example.com", "https://example.com/console", "http://console.example.com", "ftp://x"]
)
def test_addresses_that_are_no_safe_origin_are_refused(given: str) -> None:
    with pytest.raises(UsageError):
        ConsoleSettings(given)


def test_secrets_that_are_too_short_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Tickets.open(tmp_path / "audit.db", secret=b"short")


@pytest.mark.parametrize("text", ["%00", "%ED%A0%80", "%FF", "a%2Fb", "%E2%80%AE", "x" * 3000])
def test_texts_that_nobody_sends_by_hand_are_answered(app: Starlette, demo: ConsoleDemo, text: str) -> None:
    client = signed_in(demo, app, LEA)
    for path in (
        f"/requests/{text}",
        f"/reviews/{text}",
        f"/inbox?before={text}",
        f"/inbox?state={text}",
        f"/reviews?state={text}",
    ):
        assert client.get(path).status_code in (200, 303, 400, 404), path
    sent = {"csrf_token": csrf_token(client), "reason": "\0", "answer": "approve"}
    assert client.post(f"/requests/{demo.requests['refund']}/answer", data=sent).status_code == 400


def test_names_that_turn_the_direction_of_writing_show_it(app: Starlette, demo: ConsoleDemo) -> None:
    asked = demo.guard.desk.get(demo.requests["refund"])
    now = int(time.time())
    odd = replace(asked, id="odd", digest="0" * 64, agent="bot\u202ecod.exe", created_at=now, expires_at=now + 60)
    demo.guard.desk.submit(odd)
    text = signed_in(demo, app, LEA).get("/requests/odd").text
    assert "\u202e" not in text
    assert "bot\\u202ecod.exe" in text
    demo.guard.deny("odd", by=BO, reason="no")


def test_rows_are_read_for_those_alone_who_may_answer(app: Starlette, demo: ConsoleDemo) -> None:
    for who, status in ((LEA, 200), (KIM, 403), (Principal("pat@example.com", frozenset({"privacy"})), 403)):
        client = signed_in(demo, app, who)
        before = demo.guard.ledger.size
        answer = client.post(f"/requests/{demo.requests['refund']}/preview", data={"csrf_token": csrf_token(client)})
        assert answer.status_code == status
        assert ("Changed in payments" in answer.text) == (status == 200)
        assert (demo.guard.ledger.size > before) == (status == 200)
