"""A real MCP server and client over HTTP on loopback: the user is sent to the console, and the call goes on when somebody has answered."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from mcp.client.client import Client
from mcp.server.mcpserver import MCPServer
from mcp_types import ElicitCompleteNotification, ElicitRequestURLParams, ElicitResult

from guardrails import Denied, Guard, Policy
from guardrails.integrations.mcp import add_sql_tool
from tests.support.guarded_shop import ANA, POLICY, tool_entries
from tests.support.paused_shop import CONSOLE, DELETE, QUESTION, lead, loopback, model

VERSIONS = ["2026-07-28", "legacy"]


@pytest.fixture
def guard(sqlite_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    loopback(monkeypatch)
    ledger = f"sqlite:///{tmp_path / 'audit.db'}"
    with Guard.open(Policy.from_text(POLICY), database=f"sqlite:///{sqlite_path}", ledger=ledger) as opened:
        yield opened


@contextmanager
def serving(guard: Guard, **options: Any) -> Iterator[str]:
    server = MCPServer("shop")
    add_sql_tool(server, guard, session=lambda _: guard.session(principal=ANA, agent="mcp"), **options)
    listening = socket.create_server(("127.0.0.1", 0))
    app = server.streamable_http_app()
    web = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not web.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        web.should_exit = True
        thread.join(20)
        listening.close()


class User:
    """Who sits at the client: does something when sent to a page, and says whether they went."""

    def __init__(self, action: Any, then: Callable[[str], object] = lambda _: None) -> None:
        self.links: list[str] = []
        self._action = action
        self._then = then

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestURLParams)
        assert "WHERE" not in params.message
        self.links.append(params.url)
        self._then(params.url.rpartition("/")[2])
        return ElicitResult(action=self._action)


def text(result: Any) -> str:
    return str(result.content[0].text)


async def call(url: str, mode: str, user: User | None, sql: str = DELETE) -> Any:
    async with Client(url, mode=mode, elicitation_callback=user) as client:
        return await client.call_tool("query_database", {"sql": sql})


def orders(guard: Guard) -> int:
    with guard.session(principal=ANA):
        return int(str(guard.execute("SELECT count(*) FROM orders").rows[0][0]))


@pytest.mark.parametrize("mode", VERSIONS)
async def test_the_call_goes_on_when_somebody_has_approved(guard: Guard, mode: str) -> None:
    def later(request_id: str) -> None:
        threading.Timer(0.1, lambda: guard.approve(request_id, by=lead(), reason="fine")).start()

    completed: list[str] = []

    async def told(message: Any) -> None:
        if isinstance(message, ElicitCompleteNotification):
            completed.append(message.params.elicitation_id)

    user = User("accept", later)
    with serving(guard, console_url=CONSOLE, wait_s=20) as url:
        async with Client(url, mode=mode, elicitation_callback=user, message_handler=told) as client:
            result = await client.call_tool("query_database", {"sql": DELETE})
    assert json.loads(text(result)) == {"rows_changed": 1}
    assert not result.is_error
    assert [link.rpartition("/")[0] for link in user.links] == [f"{CONSOLE}/requests"]
    assert orders(guard) == 3
    # Clients of the older revision are told that the page has done its part.
    assert completed == ([user.links[0].rpartition("/")[2]] if mode == "legacy" else [])


@pytest.mark.parametrize("mode", VERSIONS)
async def test_whoever_sits_at_the_client_cannot_say_yes(guard: Guard, mode: str) -> None:
    def try_it(request_id: str) -> None:
        with pytest.raises(Denied, match=r"approval\.self"):
            guard.approve(request_id, by=lead(ANA.id, ("leads",)), reason="mine")

    with serving(guard, console_url=CONSOLE, wait_s=0.3) as url:
        for user in (User("accept", try_it), User("decline"), None):
            result = await call(url, mode, user)
            assert result.is_error
            assert text(result).startswith("Refused (approval.required)")
        (request,) = guard.pending()
        assert request.id in text(result)
        refused = await call(url, mode, User("accept", lambda id_: guard.deny(id_, by=lead(), reason="no")))
        assert text(refused).startswith("Refused (approval.denied)")
    assert orders(guard) == 4


async def test_a_model_works_through_the_client(guard: Guard) -> None:
    openai = pytest.importorskip("openai")
    user = User("accept", lambda request_id: guard.approve(request_id, by=lead(), reason="fine"))
    statements = ("SELECT count(*) AS n FROM orders", "DROP TABLE orders", DELETE)
    with serving(guard, console_url=CONSOLE, wait_s=20) as url, model(*statements) as model_url:
        chat = openai.AsyncOpenAI(base_url=model_url, api_key="k")
        async with Client(url, elicitation_callback=user) as client:
            listed = (await client.list_tools()).tools
            assert [tool.name for tool in listed] == ["query_database"]
            assert listed[0].input_schema["properties"].keys() == {"sql"}
            tools: Any = [
                {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.input_schema}}
                for t in listed
            ]
            messages: list[Any] = [{"role": "user", "content": QUESTION}]
            while True:
                said = (await chat.chat.completions.create(model="m", messages=messages, tools=tools)).choices[0].message
                messages.append(said)
                if not said.tool_calls:
                    break
                for wanted in said.tool_calls:
                    done = await client.call_tool(wanted.function.name, json.loads(wanted.function.arguments))
                    messages.append({"role": "tool", "tool_call_id": wanted.id, "content": text(done)})
    assert json.loads(str(said.content)) == {"rows_changed": 1}
    assert len(user.links) == 1
    assert [kind for _, _, kind in tool_entries(guard)] == ["intent", "refusal", "intent"]
    runtimes: list[Any] = [entry["runtime"] for entry in guard.ledger.entries() if entry["type"] in ("intent", "refusal")]
    assert {(runtime["framework"], runtime["client"].split()[0]) for runtime in runtimes} == {("mcp", "mcp")}
