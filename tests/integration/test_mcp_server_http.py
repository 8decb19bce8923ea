"""`guardrails.mcp_server` over HTTP with the official client: the story, tokens, sessions, several people at once, rows within limits."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest
import sqlalchemy as sa
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitCompleteNotification, ElicitRequestURLParams, ElicitResult, Implementation

from guardrails import Guard, Policy
from tests.support.mcp_servers import ISSUER, VERSIONS, Running, connected, running, token
from tests.support.paused_shop import CONSOLE, loopback
from tests.support.story import DELETE, DROP, MASKED, READ, SECRETS, Story

TOOLS = ["query", "describe", "explain", "list_tables"]


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path) as opened:
        yield opened


def text(result: Any) -> str:
    return "\n".join(str(part.text) for part in result.content)


def refusal(result: Any) -> str:
    """The code with which a call was refused: the one that the model reads, and the program."""
    assert result.is_error, result
    found = re.match(r"Refused \(([\w.]+)\)", text(result))
    assert found, text(result)
    assert result.meta["guardrails"]["code"] == found[1]
    return found[1]


async def ask(client: Client, sql: str, params: object = None) -> Any:
    return await client.call_tool("query", {"sql": sql} | ({"params": params} if params is not None else {}))


class User:
    """Who sits at the client: does something when sent to a page, and says that they went."""

    def __init__(self, action: Any, then: Any = lambda _: None) -> None:
        self.links: list[str] = []
        self._action = action
        self._then = then

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestURLParams)
        assert "orders" not in params.message
        self.links.append(params.url)
        self._then(params.url.rpartition("/")[2])
        return ElicitResult(action=self._action)


@pytest.mark.parametrize("mode", VERSIONS)
async def test_the_story(story: Story, mode: str) -> None:
    completed: list[str] = []

    async def told(message: Any) -> None:
        if isinstance(message, ElicitCompleteNotification):
            completed.append(message.params.elicitation_id)

    with running(story.guard, console_url=CONSOLE, wait_s=20, agent="clerk") as server:
        bearer = token(audience=server.url)
        user = User("accept", lambda _: threading.Timer(0.1, story.approve).start())
        info = Implementation(name="Desk <b>top", version="1.2\n3")
        options: dict[str, Any] = {"elicitation_callback": user, "message_handler": told, "client_info": info}
        async with connected(server.url, bearer, mode, **options) as client:
            listed = (await client.list_tools()).tools
            assert [tool.name for tool in listed] == TOOLS
            dropped = await ask(client, DROP)
            assert refusal(dropped) == "policy.no_rule"
            read = await ask(client, READ)
            story.check_masked(text(read))
            deleted = await ask(client, DELETE)
    assert deleted.structured_content["rows_changed"] == 1
    assert story.orders_left() == 3
    assert [link.rpartition("/")[0] for link in user.links] == [f"{CONSOLE}/requests"]
    assert completed == ([user.links[0].rpartition("/")[2]] if mode == "legacy" else [])
    entries = story.entries()
    assert [(e["type"], e["tool"]) for e in entries] == [("refusal", "query"), ("intent", "query"), ("intent", "query")]
    assert all(e["tool_call"] for e in entries)
    assert {e["principal"]["id"] for e in entries} == {"ana@example.com"}
    assert {e["principal"]["verified"] for e in entries} == {"jwt"}
    assert {e["agent"]["name"] for e in entries} == {"clerk"}
    conversations = {e["conversation"] for e in entries}
    assert len(conversations) == 1
    assert (None in conversations) == (mode != "legacy")
    runtime = entries[0]["runtime"]
    assert (runtime["framework"], runtime["agent"], runtime["client"]) == ("mcp", "clerk", "Desk <b>top 1.2 3")
    assert entries[2]["approval"]["approver"] == "lea@example.com"
    # What the client was given proves what it was answered.
    receipts = [
        dropped.meta["guardrails"]["receipt"],
        read.structured_content["receipt"],
        deleted.structured_content["receipt"],
    ]
    for receipt, kind in zip(receipts, ("refusal", "outcome", "outcome"), strict=True):
        assert story.guard.ledger.entry(receipt["index"])["type"] == kind
        assert re.fullmatch(r"[0-9a-f]{64}", receipt["hash"])


async def test_structured_content_is_what_the_schemas_say(story: Story) -> None:
    with running(story.guard) as server:
        async with connected(server.url, token(audience=server.url)) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            calls: list[tuple[str, dict[str, Any]]] = [
                ("query", {"sql": "SELECT id, name, email FROM customers WHERE id = :id", "params": {"id": 1}}),
                ("query", {"sql": "SELECT id FROM orders WHERE id = ?", "params": [2]}),
                ("list_tables", {}),
                ("describe", {"relation": "CUSTOMERS"}),
                ("explain", {"sql": "SELECT email FROM customers"}),
                ("explain", {"sql": DROP}),
                ("explain", {"sql": DELETE}),
            ]
            # The client holds each against the tool's output schema.
            results = [await client.call_tool(name, arguments) for name, arguments in calls]
    by_name, by_place, listed, described, allowed, denied, waits = (r.structured_content for r in results)
    for result in results:
        assert json.loads(text(result)) == result.structured_content
    assert by_name["columns"] == ["id", "name", "email"]
    assert by_name["rows"] == [[1, "Ada", "hidden"]]
    assert (by_name["row_count"], by_name["truncated"], by_name["masked"]) == (1, False, {"email": "fixed"})
    assert by_place["rows"] == [[2]]
    assert {t["name"]: t["masked"] for t in listed["tables"]} == {"customers": {"email": "fixed", "ssn": "full"}, "orders": {}}
    assert {c["name"]: c["mask"] for c in described["columns"]}["ssn"] == "full"
    assert (described["name"], described["primary_key"]) == ("customers", ["id"])
    assert (allowed["effect"], allowed["reads"], allowed["masked"]) == ("allow", ["customers.email"], {"email": "fixed"})
    assert allowed["plan"]
    assert (denied["effect"], denied["reasons"][0]["code"], denied["plan"]) == ("deny", "policy.no_rule", None)
    assert (waits["effect"], waits["plan"], waits["kind"]) == ("approve", None, "delete")
    assert story.guard.pending() == []
    assert story.orders_left() == 4
    hints = {name: tool.annotations.read_only_hint for name, tool in tools.items() if tool.annotations}
    assert hints == {"query": False, "describe": True, "explain": True, "list_tables": True}
    # Each question is in the ledger, whatever its answer.
    recorded = [(e["type"], e["tool"]) for e in story.entries("intent", "refusal", "message")]
    assert recorded == [
        ("intent", "query"),
        ("intent", "query"),
        ("intent", "list_tables"),
        ("intent", "describe"),
        ("intent", "explain"),
        ("refusal", "explain"),
        ("message", "explain"),
    ]


async def test_what_may_not_be_seen_does_not_exist(story: Story) -> None:
    """`employees` is there, and no rule lets Ana select from it: whatever she asks, the answer is that of a name that is not there."""
    with running(story.guard) as server:
        async with connected(server.url, token(audience=server.url)) as client:
            uris = [str(resource.uri) for resource in (await client.list_resources()).resources]
            assert uris == ["guardrails://schema", "guardrails://schema/customers", "guardrails://schema/orders"]
            for name in ("employees", "nowhere_at_all"):
                for spelt in (name, name.upper(), f"main.{name}", f'"{name}"'):
                    described = await client.call_tool("describe", {"relation": spelt})
                    assert text(described).startswith("Refused (sql.relation_unknown): There is no such table or view.")
                    assert described.meta["guardrails"] == {"code": "sql.relation_unknown"}
                with pytest.raises(MCPError) as failed:
                    await client.read_resource(f"guardrails://schema/{name}")
                assert (failed.value.error.code, failed.value.error.message) == (-32602, "Resource not found.")
            described = json.loads((await client.read_resource("guardrails://schema/orders")).contents[0].text)  # type: ignore[union-attr]
            assert described["name"] == "orders"
            everything = json.loads((await client.read_resource("guardrails://schema")).contents[0].text)  # type: ignore[union-attr]
            assert [t["name"] for t in everything["tables"]] == ["customers", "orders"]
            for uri in ("guardrails://schema/", "guardrails://other", "file:///etc/passwd", "guardrails://schema/%2e%2e/x"):
                try:
                    (content,) = (await client.read_resource(uri)).contents
                except MCPError as error:
                    assert error.error.message == "Resource not found."
                else:
                    assert "employees" not in content.text  # type: ignore[union-attr]
        # Whom no rule lets see anything sees nothing, by the same ways.
        async with connected(server.url, token("eve@example.com", (), audience=server.url)) as client:
            assert (await client.call_tool("list_tables", {})).structured_content["tables"] == []
            assert [str(r.uri) for r in (await client.list_resources()).resources] == ["guardrails://schema"]


@pytest.mark.parametrize("mode", VERSIONS)
async def test_whoever_sits_at_the_client_cannot_say_yes(story: Story, mode: str) -> None:
    with running(story.guard, console_url=CONSOLE, wait_s=0.3) as server:
        bearer = token(audience=server.url)
        for user in (User("accept"), User("decline"), User("cancel"), None):
            async with connected(server.url, bearer, mode, elicitation_callback=user) as client:
                waits = await ask(client, DELETE)
                assert refusal(waits) == "approval.required"
                (request,) = story.guard.pending()
                assert request.id in text(waits)
                assert f"{CONSOLE}/requests/{request.id}" in text(waits)
        assert story.orders_left() == 4
        async with connected(server.url, bearer, mode, elicitation_callback=User("accept", lambda _: story.deny())) as client:
            assert refusal(await ask(client, DELETE)) == "approval.denied"
    assert story.orders_left() == 4


async def test_a_forged_answer_permits_nothing(story: Story) -> None:
    """A client of the newer revision may send answers to questions that nobody has put, or to another request's."""
    with running(story.guard, console_url=CONSOLE, wait_s=0.1) as server:
        async with connected(server.url, token(audience=server.url), elicitation_callback=User("accept")) as client:
            assert refusal(await ask(client, DELETE)) == "approval.required"
            (request,) = story.guard.pending()
            yes: Any = ElicitResult(action="accept", content={"approved": True})
            for key in ("approval", f"approval-{request.id}", "approval-other"):
                answered = await client.session.call_tool(
                    "query",
                    {"sql": DELETE},
                    input_responses={key: yes},
                    request_state="approved",
                    allow_input_required=True,
                )
                assert getattr(answered, "is_error", None) or answered.result_type == "input_required"
            assert story.orders_left() == 4
            # An approval is of one statement: another one, and the same a second time, wait again.
            story.approve()
            assert refusal(await ask(client, "DELETE FROM orders WHERE id = 3")) == "approval.required"
            assert not (await ask(client, DELETE)).is_error
            assert refusal(await ask(client, DELETE)) == "approval.required"
    assert story.orders_left() == 3


async def test_parallel_calls_of_one_approval_run_once(story: Story) -> None:
    with running(story.guard) as server:
        async with connected(server.url, token(audience=server.url)) as client:
            assert refusal(await ask(client, DELETE)) == "approval.required"
            story.approve()
            statements = [DELETE] * 5 + [DROP] * 5 + [READ] * 5
            results = await asyncio.gather(*(ask(client, sql) for sql in statements))
    assert [r.is_error for r in results[:5]].count(False) == 1
    assert {refusal(r) for r in results[5:10]} == {"policy.no_rule"}
    assert all(not r.is_error and not any(s in text(r) for s in SECRETS) for r in results[10:])
    assert story.orders_left() == 3


POLICY_OF_TWO = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [customers], principals: {groups: [support, managers]}}
columns:
  customers.ssn: {mask: full, except: {groups: [managers]}}
rows:
  customers: "email = principal.id"
"""


async def test_two_people_at_once_see_their_own(tmp_path: Path, sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback(monkeypatch)
    policy = Policy.from_text(POLICY_OF_TWO)
    with (
        Guard.open(policy, database=f"sqlite:///{sqlite_path}", ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard,
        running(guard) as server,
    ):

        async def read(mode: str, subject: str, group: str) -> list[Any]:
            async with connected(server.url, token(subject, (group,), audience=server.url), mode) as client:
                answers = await asyncio.gather(*(ask(client, "SELECT name, ssn FROM customers") for _ in range(8)))
                described = await client.call_tool("describe", {"relation": "customers"})
            masks = {c["name"]: c["mask"] for c in described.structured_content["columns"]}
            return [*(answer.structured_content["rows"] for answer in answers), masks["ssn"]]

        people = [("ada@example.com", "support"), ("bo@example.com", "managers")]
        answers = await asyncio.gather(*(read(mode, *person) for mode in VERSIONS for person in people))
        guard_entries: list[Any] = [e for e in guard.ledger.entries() if e["type"] == "intent"]
    adas, bos = [[["Ada", "***"]]] * 8 + ["full"], [[["Bo", "219-09-9999"]]] * 8 + [None]
    assert answers == [adas, bos, adas, bos]
    subjects = {e["session"]: e["principal"]["id"] for e in guard_entries}
    assert set(subjects.values()) == {"ada@example.com", "bo@example.com"}


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}},
}
CALL = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "query", "arguments": {"sql": READ}}}


def post(server: Running, body: object, bearer: str | None = None, **headers: str) -> httpx2.Response:
    sent = {"Accept": "application/json, text/event-stream", **headers}
    if bearer is not None:
        sent["Authorization"] = f"Bearer {bearer}"
    return httpx2.post(server.url, json=body, headers=sent, timeout=20)


def test_a_session_belongs_to_who_opened_it(story: Story) -> None:
    with running(story.guard) as server:
        ana = token(audience=server.url)
        session = post(server, INITIALIZE, ana).headers["mcp-session-id"]
        within = {"Mcp-Session-Id": session, "Mcp-Protocol-Version": "2025-11-25"}
        assert post(server, {"jsonrpc": "2.0", "method": "notifications/initialized"}, ana, **within).status_code == 202
        others = {
            "another person": token("bo@example.com", audience=server.url),
            "another agent of hers": token(audience=server.url, actors=("thief",)),
            "another client of hers": token(audience=server.url, client_id="other"),
        }
        for who, bearer in others.items():
            assert post(server, CALL, bearer, **within).status_code == 404, who
            listening = {**within, "Authorization": f"Bearer {bearer}", "Accept": "text/event-stream"}
            assert httpx2.get(server.url, headers=listening).status_code == 404, who
            cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}
            assert post(server, cancelled, bearer, **within).status_code == 404, who
        assert post(server, CALL, ana, **(within | {"Mcp-Session-Id": "f" * 32})).status_code == 404
        assert post(server, CALL, None, **within).status_code == 401
        assert (
            httpx2.delete(server.url, headers=within | {"Authorization": f"Bearer {others['another person']}"}).status_code
            == 404
        )
        # A renewed token of hers goes on.
        answered = post(server, CALL, token(audience=server.url, jti="renewed"), **within)
        assert answered.status_code == 200
        assert MASKED[1] in answered.text
    entries = story.entries()
    assert [(e["principal"]["id"], e["conversation"]) for e in entries] == [("ana@example.com", session)]


def test_tokens_that_do_not_count(story: Story) -> None:
    with running(story.guard, scopes=["sql"]) as server:
        refused = {
            "none": None,
            "another server's": token(audience="http://127.0.0.1:1/mcp", scope="sql"),
            "the host's alone": token(audience=server.url.removesuffix("/mcp"), scope="sql"),
            "expired": token(audience=server.url, scope="sql", seconds=-5),
            "another issuer's": token(audience=server.url, scope="sql", issuer="https://evil.example.com"),
            "bound to a key": token(audience=server.url, scope="sql", cnf={"jkt": "x"}),
            "nobody's": token("", audience=server.url, scope="sql"),
            "a list of actors": token(audience=server.url, scope="sql", act=["planner"]),
            "no token": "abc",
            "unsigned": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ.",
        }
        for why, bearer in refused.items():
            for body in (INITIALIZE, CALL):
                answered = post(server, body, bearer)
                assert answered.status_code == 401, why
                challenge = answered.headers["www-authenticate"]
                assert challenge.startswith("Bearer ")
        found = re.search(r'resource_metadata="([^"]+)"', challenge)
        assert found is not None
        metadata = httpx2.get(found[1]).json()
        assert metadata["resource"] == server.url
        assert metadata["authorization_servers"] == [ISSUER]
        assert metadata["scopes_supported"] == ["sql"]
        weak = post(server, INITIALIZE, token(audience=server.url, scope="openid sqlite"))
        assert weak.status_code == 403
        assert "insufficient_scope" in weak.headers["www-authenticate"]
        assert post(server, INITIALIZE, token(audience=server.url, scope="openid sql")).status_code == 200
        # In the URL a token does not count.
        assert httpx2.post(f"{server.url}?access_token={token(audience=server.url)}", json=CALL).status_code == 401
    assert story.entries() == []


async def test_a_token_that_expires_in_mid_session_ends_it(story: Story) -> None:
    with running(story.guard) as server:
        # Whole seconds, as tokens have them.
        bearer = token(audience=server.url, exp=int(time.time()) + 2)
        session = post(server, INITIALIZE, bearer).headers["mcp-session-id"]
        within = {"Mcp-Session-Id": session, "Mcp-Protocol-Version": "2025-11-25"}
        post(server, {"jsonrpc": "2.0", "method": "notifications/initialized"}, bearer, **within)
        assert post(server, CALL, bearer, **within).status_code == 200
        while (answered := post(server, CALL, bearer, **within)).status_code == 200:
            if "identity.token_expired" in answered.text:
                continue
            assert MASKED[1] in answered.text
            await asyncio.sleep(0.1)
        assert answered.status_code == 401
        # Neither a later one of another person nor the same one again opens it.
        assert post(server, CALL, bearer, **within).status_code == 401
        assert post(server, CALL, token(audience=server.url), **within).status_code == 200


async def test_agents_come_from_the_token(story: Story) -> None:
    with running(story.guard, agent="clerk") as server:
        async with connected(server.url, token(audience=server.url, actors=("planner", "chat"))) as client:
            assert not (await ask(client, READ)).is_error
        async with connected(server.url, token(audience=server.url)) as client:
            assert not (await ask(client, READ)).is_error
    acted, plain = story.entries()
    assert acted["agent"]["name"] == "planner"
    assert [actor["id"] for actor in acted["delegation"]] == ["planner", "chat"]
    assert (plain["agent"]["name"], "delegation" in plain) == ("clerk", False)


def test_pages_of_other_sites_do_not_reach_it(story: Story) -> None:
    with running(story.guard) as server:
        bearer = token(audience=server.url)
        assert post(server, INITIALIZE, bearer, Host="evil.example.com").status_code == 421
        assert post(server, INITIALIZE, bearer, Origin="https://evil.example.com").status_code == 403
        modern = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
        assert post(server, CALL, bearer, Host="evil.example.com", **modern).status_code == 421
        assert post(server, CALL, bearer, Origin="https://evil.example.com", **modern).status_code == 403
        assert post(server, INITIALIZE, bearer, Origin=server.url.removesuffix("/mcp")).status_code == 200
    assert story.entries() == []


async def test_malformed_calls_run_nothing(story: Story) -> None:
    with running(story.guard) as server:
        async with connected(server.url, token(audience=server.url), "legacy") as client:
            malformed: list[dict[str, Any]] = [
                {},
                {"sql": None},
                {"sql": ["SELECT 1"]},
                {"sql": READ, "params": "x"},
                {"sql": READ, "params": [[1]]},
                {"sql": READ, "params": {"a": {"b": 1}}},
                {"sql": READ, "limit": 5},
                {"statement": READ},
            ]
            for arguments in malformed:
                assert refusal(await client.call_tool("query", arguments)) == "usage.input_invalid", arguments
            for name in ("describe", "explain"):
                assert refusal(await client.call_tool(name, {})) == "usage.input_invalid"
            assert refusal(await client.call_tool("list_tables", {"sql": READ})) == "usage.input_invalid"
            with pytest.raises(MCPError, match="no such tool"):
                await client.call_tool("drop", {})
            assert story.entries() == []
            odd = [
                "",
                " ",
                ";",
                "SELECT 1; DROP TABLE orders",
                "SELECT '\x00'",
                "SELECT " + "(" * 400,
                "x" * 200_000,
                "\ud7ff\u2028",
            ]
            for sql in odd:
                assert (await ask(client, sql)).is_error
            assert (await ask(client, "SELECT id FROM orders WHERE id = :id", {"id": 2**70})).is_error
        bearer = token(audience=server.url)
        for body in (
            b"{",
            b"[]",
            b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": []}',
            b"\xff",
            b"x" * 5_000_000,
        ):
            headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json", "Accept": "*/*"}
            assert 400 <= httpx2.post(server.url, content=body, headers=headers).status_code < 500
    assert story.orders_left() == 4


LIMITED = """
version: 1
rules: [{id: read, effect: allow, actions: [select], relations: [orders]}]
limits: {rows: 500, seconds: 1}
"""
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {most}) SELECT i, '{pad}' AS pad FROM n"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"


@pytest.fixture
def limited(tmp_path: Path, sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    loopback(monkeypatch)
    ledger = f"sqlite:///{tmp_path / 'audit.db'}"
    with Guard.open(Policy.from_text(LIMITED), database=f"sqlite:///{sqlite_path}", ledger=ledger) as guard:
        yield guard


async def test_large_results_are_cut_off(limited: Guard) -> None:
    with running(limited, result_bytes=20_000) as server:
        async with connected(server.url, token(audience=server.url)) as client:
            many = (await ask(client, NUMBERS.format(most=10_000, pad=""))).structured_content
            assert (many["row_count"], len(many["rows"]), many["truncated"]) == (500, 500, True)
            wide = (await ask(client, NUMBERS.format(most=100, pad="x" * 1000))).structured_content
            assert wide["truncated"]
            assert 10 < wide["row_count"] < 20
            exact = (await ask(client, "SELECT 9007199254740993 AS a, 9007199254740991 AS b, 0.1 AS c")).structured_content
            assert exact["rows"] == [["9007199254740993", 9007199254740991, 0.1]]
            whole = (await ask(client, NUMBERS.format(most=3, pad=""))).structured_content
            assert (whole["row_count"], whole["truncated"]) == (3, False)


async def test_long_statements_tell_that_they_run_and_end_on_record(limited: Guard) -> None:
    told: list[tuple[float, str | None]] = []

    async def progress(step: float, total: float | None, message: str | None) -> None:
        told.append((step, message))

    with running(limited, tell_s=0.1) as server:
        async with connected(server.url, token(audience=server.url), "legacy") as client:
            slow = await client.call_tool("query", {"sql": ENDLESS}, progress_callback=progress)
            assert refusal(slow) == "engine.timeout"
            # A client that gives up gets no answer; the read that it has begun is ended, and recorded.
            async with connected(server.url, token(audience=server.url)) as newer:
                for gives_up in (client, newer):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.3):
                            await ask(gives_up, ENDLESS)
            assert not (await ask(client, "SELECT count(*) AS n FROM orders")).is_error
    outcomes = [str(e.get("error", e["status"])) for e in limited.ledger.entries() if e["type"] == "outcome"]
    assert sorted(outcomes) == ["engine.cancelled", "engine.cancelled", "engine.timeout", "ok"]
    assert {message for _, message in told} == {"The statement is running."}
    steps = [step for step, _ in told]
    assert len(steps) > 2
    assert steps == sorted(set(steps))


ENGINES = ["postgres", "mariadb", "duckdb"]
ENGINE_POLICY = """
version: 1
rules: [{id: read, effect: allow, actions: [select], relations: [people, names], principals: {groups: [support]}}]
columns:
  people.email: {mask: fixed, value: hidden}
"""
TABLES = (
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL, email VARCHAR(40))",
    "CREATE TABLE hidden (id INTEGER PRIMARY KEY)",
    "CREATE VIEW names AS SELECT id, name, email AS contact FROM people",
    "INSERT INTO people VALUES (1, 'Ada', 'ada@example.com'), (2, 'Bo', 'bo@example.com')",
)


@pytest.mark.parametrize("engine", ENGINES)
async def test_every_engine(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback(monkeypatch)
    url = _filled(engine, tmp_path, request)
    with (
        Guard.open(Policy.from_text(ENGINE_POLICY), database=url, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard,
        running(guard) as server,
    ):
        async with connected(server.url, token(audience=server.url)) as client:
            listed = (await client.call_tool("list_tables", {})).structured_content["tables"]
            described = (await client.call_tool("describe", {"relation": "names"})).structured_content
            hidden = await client.call_tool("describe", {"relation": "hidden"})
            sign = "$" if engine == "duckdb" else ":"
            read = await client.call_tool("query", {"sql": f"SELECT * FROM people WHERE id = {sign}id", "params": {"id": 2}})
            refused = await client.call_tool("query", {"sql": "DROP TABLE people"})
            explained = (await client.call_tool("explain", {"sql": "SELECT contact FROM names"})).structured_content
            plain = (await client.call_tool("explain", {"sql": "SELECT 1 AS one"})).structured_content
    assert {t["name"]: (t["kind"], t["masked"]) for t in listed} == {
        "people": ("table", {"email": "fixed"}),
        "names": ("view", {"contact": "fixed"}),
    }
    assert {c["name"]: c["mask"] for c in described["columns"]} == {"id": None, "name": None, "contact": "fixed"}
    assert text(hidden).startswith("Refused (sql.relation_unknown)")
    assert read.structured_content["rows"] == [[2, "Bo", "hidden"]]
    assert refused.is_error
    assert (explained["effect"], explained["masked"]) == ("allow", {"contact": "fixed"})
    assert "@example.com" not in json.dumps(explained)
    # On a server a plan of masked relations would tell of what is masked.
    assert bool(explained["plan"]) == (engine == "duckdb")
    assert ("would tell" in str(explained["plan_note"])) == (engine != "duckdb")
    assert plain["plan"]


def _filled(engine: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """Makes the tables in a database of the engine; returns its URL."""
    if engine == "duckdb":
        with duckdb.connect(str(folder / "shop.duckdb")) as connection:
            for statement in TABLES:
                connection.execute(statement)
        return f"duckdb:///{folder / 'shop.duckdb'}"
    make: Callable[[], str] = request.getfixturevalue("new_postgres" if engine == "postgres" else "new_mariadb_now")
    url = str(make())
    driver = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}
    scheme, _, rest = url.partition("://")
    database = sa.create_engine(f"{driver.get(scheme, scheme)}://{rest}")
    with database.begin() as open_connection:
        for statement in TABLES:
            open_connection.exec_driver_sql(statement)
    database.dispose()
    return url
