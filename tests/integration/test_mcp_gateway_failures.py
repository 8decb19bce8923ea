"""Servers that die, fall silent, answer twice or too late, and ask for things: each has its named failure, and what ran is on record."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

import tests.support.raw_stranger
from guardrails.errors import EngineError, UsageError
from guardrails.mcp_gateway import Call, Gateway, Upstream, UpstreamConfig
from tests.support.story import POLICY, READ, Story
from tests.support.strangers import Stranger, gateway_of, sql_tool, text, tool

RULES = "rules:\n  - {id: tools, effect: allow, actions: [shop.send, shop.environment, mail.send]}\n"
SCRIPT = tests.support.raw_stranger.__file__


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with Story.open(tmp_path, policy=POLICY.replace("rules:\n", RULES)) as opened:
        yield opened


def raw(**does: Any) -> dict[str, Any]:
    """The configuration of a server that misbehaves."""
    settings = {key: does.pop(key) for key in ("env", "seconds") if key in does}
    return {"command": sys.executable, "args": ["-S", str(SCRIPT), json.dumps(does)], "protocol": "legacy", **settings}


@asynccontextmanager
async def through(story: Story, upstreams: dict[str, Any], **options: Any) -> AsyncIterator[tuple[Client, Gateway]]:
    async with (
        gateway_of(story.guard, story.folder, upstreams, principal_of=lambda _: story.ana, **options) as gateway,
        Client(gateway.server, cache=None) as client,
    ):
        yield client, gateway


def outcomes(story: Story) -> list[tuple[object, object]]:
    return [(e["status"], e.get("error")) for e in story.guard.ledger.entries() if e["type"] == "outcome"]


def notes(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def until(found: Any) -> None:
    """Waits until something that another process does has happened."""
    for _ in range(500):
        if found():
            return
        await asyncio.sleep(0.01)
    pytest.fail("It did not happen.")


async def test_a_server_that_dies_in_a_call_is_not_asked_again_and_is_started_anew_for_the_next(
    story: Story, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    async with through(story, {"shop": raw(dies_in="send", notes=str(path))}) as (client, gateway):
        before = gateway._upstreams["shop"].server
        lost = await client.call_tool("send", {"to": "bo"})
        assert text(lost).startswith("Refused (engine.unknown_outcome)")
        assert not (await client.call_tool("query", {"sql": READ})).is_error
        assert gateway._upstreams["shop"].server != before
    assert outcomes(story) == [("unknown", "engine.unknown_outcome"), ("ok", None)]
    assert [note["called"] for note in notes(path)] == ["send", "query"]


async def test_silence_ends_with_its_time_and_the_server_is_told(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    async with through(story, {"shop": raw(silent="send", seconds=0.3, notes=str(path))}) as (client, _):
        assert text(await client.call_tool("send", {})).startswith("Refused (engine.unknown_outcome)")
        await until(lambda: any("cancelled" in note for note in notes(path)))
    assert outcomes(story) == [("unknown", "engine.unknown_outcome")]


async def test_statements_have_the_policys_time(tmp_path: Path) -> None:
    with Story.open(tmp_path, policy=POLICY + "limits: {seconds: 0.3}\n") as story:
        async with through(story, {"shop": raw(silent="query", seconds=3600.0)}) as (client, _):
            assert text(await client.call_tool("query", {"sql": READ})).startswith("Refused (engine.timeout)")
        assert outcomes(story) == [("error", "engine.timeout")]


async def test_a_cancelled_call_is_passed_on_and_recorded(story: Story, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    async with through(story, {"shop": raw(silent="send", notes=str(path))}) as (client, _):
        with pytest.raises((MCPError, TimeoutError)):
            await client.call_tool("send", {}, read_timeout_seconds=0.3)
        await until(lambda: outcomes(story))
        await until(lambda: any("cancelled" in note for note in notes(path)))
    assert outcomes(story) == [("unknown", "engine.unknown_outcome")]


async def test_a_client_that_goes_leaves_no_intent_without_outcome(story: Story) -> None:
    async with gateway_of(story.guard, story.folder, {"shop": raw(silent="send")}, principal_of=lambda _: story.ana) as gateway:
        async with Client(gateway.server, cache=None, mode="legacy") as client:
            calling = asyncio.create_task(client.call_tool("send", {}))
            await until(lambda: [e for e in story.guard.ledger.entries() if e["type"] == "intent"])
        await asyncio.gather(calling, return_exceptions=True)
    assert outcomes(story) == [("unknown", "engine.unknown_outcome")]


async def test_a_second_answer_does_not_count(story: Story) -> None:
    async with through(story, {"shop": raw(twice=True, garbage=True)}) as (client, _):
        assert [text(await client.call_tool("send", {})) for _ in range(3)] == ["send done"] * 3
    assert outcomes(story) == [("ok", None)] * 3


async def test_an_answer_that_comes_too_late_is_nobodys(story: Story) -> None:
    async with through(story, {"shop": raw(late=True, seconds=0.4)}) as (client, _):
        assert text(await client.call_tool("send", {})).startswith("Refused (engine.unknown_outcome)")
        assert text(await client.call_tool("query", {"sql": READ})) == "query done"
    assert outcomes(story) == [("unknown", "engine.unknown_outcome"), ("ok", None)]


MALFORMED: dict[str, Any] = {
    "text": {"content": "078-05-1120"},
    "no-content": {"078-05-1120": 1},
    "unknown-kind": {"content": [{"type": "078-05-1120"}]},
    "text-that-is-none": {"content": [{"type": "text", "text": ["078-05-1120"]}]},
    "list": ["078-05-1120"],
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_an_answer_without_form_tells_nothing(story: Story, name: str) -> None:
    async with through(story, {"shop": raw(result=MALFORMED[name], seconds=0.5)}) as (client, _):
        results = [await client.call_tool("send", {}), await client.call_tool("query", {"sql": READ})]
    assert all(result.is_error for result in results)
    assert "078" not in "".join(map(text, results))
    # What is not even a message is nobody's answer.
    ended = ("unknown", "engine.unknown_outcome") if name == "list" else ("error", "mcp.upstream_failed")
    assert outcomes(story) == [ended] * 2


async def test_a_transport_that_fails_in_its_own_way_leaves_the_outcome_unknown(story: Story) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise OSError("078-05-1120")

    async with through(story, {"shop": raw()}) as (client, gateway):
        await client.list_tools()
        (await gateway._upstreams["shop"]._session()).call_tool = broken  # type: ignore[method-assign]
        result = await client.call_tool("send", {})
        assert text(result).startswith("Refused (engine.unknown_outcome)")
        assert "078" not in text(result)
        assert not (await client.call_tool("send", {})).is_error
    assert outcomes(story) == [("unknown", "engine.unknown_outcome"), ("ok", None)]


ASKS = {
    "sampling/createMessage": {"messages": [{"role": "user", "content": {"type": "text", "text": "Hi"}}], "maxTokens": 9},
    "elicitation/create": {"message": "Your password?", "requestedSchema": {"type": "object", "properties": {}}},
    "roots/list": {},
}


@pytest.mark.parametrize("method", ASKS)
async def test_what_a_server_asks_for_is_refused(story: Story, tmp_path: Path, method: str) -> None:
    path = tmp_path / "notes"
    async with through(story, {"shop": raw(asks=method, params=ASKS[method], notes=str(path))}) as (client, _):
        await client.call_tool("send", {})
        await until(lambda: any("reply" in note for note in notes(path)))
    (reply,) = [note["reply"] for note in notes(path) if "reply" in note]
    assert reply["code"] in (types.INVALID_REQUEST, types.METHOD_NOT_FOUND)


async def test_a_server_of_the_newer_revision_gets_no_input_either(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")

    async def answer(_: str, __: dict[str, Any]) -> Any:
        asked = types.ElicitRequest(
            params=types.ElicitRequestFormParams(message="?", requested_schema={"type": "object", "properties": {}})
        )
        return types.InputRequiredResult(input_requests={"a": asked})

    stranger = Stranger(tool("send"), answer=answer)
    with stranger.serving() as url:
        async with through(story, {"shop": url}) as (client, _):
            assert text(await client.call_tool("send", {})).startswith("Refused (mcp.upstream_asks)")
    assert outcomes(story) == [("error", "mcp.upstream_asks")]


async def test_only_named_variables_are_handed_on(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_SECRET", "s3cret")
    monkeypatch.setenv("OTHER_SECRET", "other")
    async with through(story, {"shop": raw(env={"KEY": "<${SHOP_SECRET}>"})}) as (client, _):
        found = [text(await client.call_tool("environment", {"name": name})) for name in ("KEY", "SHOP_SECRET", "OTHER_SECRET")]
    assert found == ["<s3cret>", "unset", "unset"]
    with pytest.raises(UsageError, match=r"mcp\.config_invalid.*MISSING_ONE"):
        Upstream("shop", UpstreamConfig(command="x", env={"KEY": "${MISSING_ONE}"}))


async def test_a_server_that_is_down_takes_no_other_with_it(story: Story) -> None:
    upstreams = {"shop": {"command": "/no/such/program"}, "mail": raw()}
    async with through(story, upstreams) as (client, gateway):
        assert [t.name for t in (await client.list_tools()).tools] == ["mail_environment", "mail_query", "mail_send"]
        assert not (await client.call_tool("mail_send", {})).is_error
        with pytest.raises(EngineError, match=r"mcp\.upstream_down"):
            await gateway._upstreams["shop"].definitions()


async def test_a_server_that_does_not_answer_keeps_nobody_from_the_others(story: Story) -> None:
    upstreams = {"shop": raw(seconds=5.0), "mail": raw()}
    async with through(story, upstreams, recheck=0.0) as (client, gateway):
        await client.list_tools()
        never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        gateway._upstreams["shop"]._asked_again = lambda _: never  # type: ignore[method-assign,assignment,return-value]
        async with asyncio.timeout(4):
            assert not (await client.call_tool("mail_send", {})).is_error
        never.cancel()


async def test_a_server_that_went_down_is_said_to_be_down(story: Story) -> None:
    async with through(story, {"shop": raw(), "mail": raw()}, recheck=0.0) as (client, gateway):
        upstream = gateway._upstreams["shop"]
        upstream.config = upstream.config.model_copy(update={"command": "/no/such/program"})
        await upstream._disconnect()
        assert text(await client.call_tool("shop_send", {})).startswith("Refused (mcp.upstream_down)")
        assert text(await client.call_tool("none", {})).startswith("Refused (mcp.tool_unknown)")
    assert outcomes(story) == []


async def test_a_server_that_is_busy_is_let_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guardrails.mcp_gateway.upstream._LIST_S", 0.2)
    path = tmp_path / "notes"
    async with Upstream("shop", UpstreamConfig.model_validate(raw(busy="send", notes=str(path)))) as upstream:
        await upstream.definitions()
        running = asyncio.create_task(upstream.call("send", {}, Call(10)))
        await until(lambda: notes(path))
        with pytest.raises(EngineError, match=r"mcp\.upstream_down"):
            await upstream.definitions()
        (tmp_path / "notes.free").touch()
        assert text(await running) == "send done"


@pytest.mark.parametrize("protocol", ["auto", "legacy"])
async def test_a_server_that_was_started_anew_elsewhere_is_reached_again(
    story: Story, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with ExitStack() as first:
        url = first.enter_context(Stranger(tool("send")).serving())
        async with through(story, {"shop": {"url": url, "protocol": protocol}}, recheck=0.0) as (client, _):
            assert not (await client.call_tool("send", {})).is_error
            first.close()
            assert text(await client.call_tool("send", {})).startswith("Refused (mcp.upstream_down)")
            with Stranger(tool("send")).serving(int(url.split(":")[2].split("/")[0])):
                assert not (await client.call_tool("send", {})).is_error
    assert outcomes(story) == [("ok", None)] * 2


async def test_a_listing_without_end_is_no_listing(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    stranger = Stranger(sql_tool())

    async def endless(*_: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool("send")], next_cursor="more")

    stranger.server.add_request_handler("tools/list", types.PaginatedRequestParams, endless)
    with stranger.serving() as url:
        async with Upstream("shop", UpstreamConfig(url=url)) as upstream:
            with pytest.raises(EngineError, match=r"mcp\.upstream_failed"):
                await upstream.definitions()
