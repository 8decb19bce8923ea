"""A database server from the package index, `mcp-server-sqlite`: what it gives away on its own, and does not behind the gateway.

It is of the first generation of the SDK, which lives in an environment of its own.
"""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from guardrails.testing import ModelServer
from tests.conftest import missing
from tests.support.environments import environment
from tests.support.never_runs import FORBIDDEN, contents, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, DROP, POLICY, QUESTION, READ, SECRETS, Story
from tests.support.strangers import THIRD_PARTY, gateway_of, text

pytestmark = pytest.mark.apart

RULES = "rules:\n  - {id: tools, effect: allow, actions: [shop.list_tables]}\n"


@pytest.fixture(scope="session")
def program() -> str:
    try:
        return str(environment(*THIRD_PARTY) / "mcp-server-sqlite")
    except RuntimeError as error:
        missing(str(error))
        raise


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path, policy=POLICY.replace("rules:\n", RULES)) as opened:
        yield opened


@asynccontextmanager
async def through(story: Story, program: str) -> AsyncIterator[Client]:
    shop = {"command": program, "args": ["--db-path", str(story.database)], "protocol": "legacy"}
    async with (
        gateway_of(story.guard, story.folder, {"shop": shop}, principal_of=lambda _: story.ana, agent="bot") as gateway,
        Client(gateway.server) as client,
    ):
        yield client


async def test_on_its_own_it_shows_and_changes_everything(story: Story, program: str) -> None:
    alone = StdioServerParameters(command=program, args=["--db-path", str(story.database)])
    async with Client(alone, mode="legacy") as client:
        shown = text(await client.call_tool("read_query", {"query": READ}))
        assert all(secret in shown for secret in SECRETS)
        await client.call_tool("write_query", {"query": DELETE})
        assert story.orders_left() == 3
        # What it is given for a name is SQL to it.
        injected = text(await client.call_tool("describe_table", {"table_name": "orders) --"}))
        assert "customer_id" in injected
        await client.call_tool("write_query", {"query": DROP})
    assert "orders" not in contents(story.database)


async def test_behind_the_gateway_it_shows_what_the_policy_shows(story: Story, program: str) -> None:
    async with through(story, program) as client:
        tools = {listed.name for listed in (await client.list_tools()).tools}
        assert tools == {"read_query", "write_query", "create_table", "list_tables", "describe_table", "append_insight"}
        shown = text(await client.call_tool("read_query", {"query": READ}))
        assert [row["name"] for row in ast.literal_eval(shown)] == ["Ada", "Bo", "Cy"]
        for query in (
            READ,
            "SELECT * FROM customers WHERE email LIKE '%@%'",
            "SELECT json_group_array(ssn) AS x FROM customers",
        ):
            shown = text(await client.call_tool("read_query", {"query": query}))
            assert not any(secret in shown for secret in SECRETS)
        assert "customers" in text(await client.call_tool("list_tables", {}))
        refused = await client.call_tool("describe_table", {"table_name": "orders"})
        assert text(refused).startswith("Refused (policy.no_rule)")


async def test_behind_the_gateway_it_changes_nothing_that_is_refused(story: Story, program: str) -> None:
    async with through(story, program) as client:
        for name, query in FORBIDDEN.items():
            with nothing_runs(story.database):
                for tool in ("read_query", "write_query", "create_table"):
                    assert (await client.call_tool(tool, {"query": query})).is_error, (name, tool)
    assert not [entry for entry in story.guard.ledger.entries() if entry["type"] == "intent"]


async def test_a_model_plays_the_story_through_it(story: Story, program: str) -> None:
    openai: Any = pytest.importorskip("openai")
    async with through(story, program) as client:
        listed = (await client.list_tools()).tools
        tools = [{"type": "function", "function": {"name": t.name, "parameters": t.input_schema}} for t in listed]
        with ModelServer(story.script("write_query", (DROP, DELETE, DELETE), argument="query")) as server:
            chat = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k")
            messages: list[Any] = [{"role": "user", "content": QUESTION}]
            answers: list[str] = []
            while True:
                asked = (await chat.chat.completions.create(model="m", messages=messages, tools=tools)).choices[0].message
                messages.append(asked)
                if not asked.tool_calls:
                    break
                for wanted in asked.tool_calls:
                    done = await client.call_tool(wanted.function.name, ast.literal_eval(wanted.function.arguments))
                    answers.append(text(done))
                    messages.append({"role": "tool", "tool_call_id": wanted.id, "content": text(done)})
                    if "approval.required" in text(done):
                        story.approve()
    assert [answer[:27] for answer in answers[:2]] == ["Refused (policy.no_rule): N", "Refused (approval.required)"]
    assert ast.literal_eval(answers[2]) == [{"affected_rows": 1}]
    assert story.orders_left() == 3
