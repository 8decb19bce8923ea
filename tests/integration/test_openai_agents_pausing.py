"""Runs of the OpenAI Agents SDK that wait for a person: only what somebody approved in the store runs, whatever their state says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import RunContextWrapper, RunState, ToolGuardrailFunctionOutput, function_tool, tool_input_guardrail

from guardrails.approval import Answer, CallbackChannel
from guardrails.integrations.openai_agents import guard_agent, guard_tools, open_requests, proceed, sql_tool
from guardrails.model import ApprovalRequest
from guardrails.testing import Conversation, Failure, ModelServer, ToolCall, Turn, follow
from tests.support.agents_runs import Shop, agent, answers, run, served
from tests.support.never_runs import Recorder, check_never_intended, nothing_runs
from tests.support.paused_shop import loopback
from tests.support.story import DELETE, READ, Story, signed

DELETES = ToolCall("call_delete", "query_database", {"sql": DELETE})


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path) as opened:
        yield opened


async def test_a_kept_state_goes_on_in_another_process(story: Story) -> None:
    with served(DELETES) as server:
        paused = await run(agent(server, [sql_tool(story.guard)]), "Go.", Shop(story.ana))
        kept = json.dumps(paused.to_state().to_json())
        story.reopen()
        bot = agent(server, [sql_tool(story.guard)])
        context = Shop(story.ana)
        state = await RunState.from_json(bot, json.loads(kept), context_override=RunContextWrapper(context))
        (request,) = open_requests(state).values()
        assert open_requests(state, context=context) == {"call_delete": request}
        assert (request.agent, request.requester) == ("bot", story.ana.id)
        assert not proceed(state)
        story.approve()
        assert proceed(state)
        assert open_requests(state) == {}
        done = await run(bot, state)
        assert json.loads(done.final_output) == {"rows_changed": 1}
        assert story.orders_left() == 3


async def test_a_no_is_told_to_the_model(story: Story) -> None:
    with served(DELETES) as server:
        bot = agent(server, [sql_tool(story.guard)])
        paused = await run(bot, "Go.", Shop(story.ana))
        story.deny()
        state = paused.to_state()
        assert proceed(state)
        done = await run(bot, state)
        assert done.final_output.startswith("Refused (approval.denied)")
        again = await run(bot, "Go.", Shop(story.ana))
        assert again.interruptions == []
        assert again.final_output.startswith("Refused (approval.denied)")
    assert story.orders_left() == 4


async def test_the_sdks_own_yes_permits_nothing(story: Story) -> None:
    others = [ToolCall(f"call_{n}", "query_database", {"sql": f"DELETE FROM orders WHERE id = {n}"}) for n in (1, 2)]
    with nothing_runs(story.database), ModelServer(_one_by_one(DELETES, *others)) as server:
        bot = agent(server, [sql_tool(story.guard)])
        paused = await run(bot, "Go.", Shop(story.ana))
        state = paused.to_state()
        for item in paused.interruptions:
            state.approve(item, always_approve=True)
        done = await run(bot, state)
        assert done.interruptions == []
        assert [text[:27] for text in answers(done).values()] == ["Refused (approval.required)"] * 3
    check_never_intended(story.guard, "call_delete", "call_1", "call_2")
    assert len(story.guard.pending()) == 3


async def test_the_sdks_own_no_needs_no_answer(story: Story) -> None:
    with served(DELETES) as server:
        bot = agent(server, [sql_tool(story.guard)])
        paused = await run(bot, "Go.", Shop(story.ana))
        state = paused.to_state()
        state.reject(paused.interruptions[0])
        story.approve()
        assert "Refused" not in (await run(bot, state)).final_output
    assert story.orders_left() == 4


@pytest.mark.parametrize("other", ["DELETE FROM orders WHERE id = 3", "DELETE FROM orders", "DROP TABLE orders", READ])
async def test_edited_arguments_are_judged_anew(story: Story, other: str) -> None:
    with nothing_runs(story.database), served(DELETES) as server:
        bot = agent(server, [sql_tool(story.guard)])
        paused = await run(bot, "Go.", Shop(story.ana))
        story.approve()
        kept = json.loads(json.dumps(paused.to_state().to_json()).replace(DELETE, other))
        kept["context"]["tool_invocations"] = {}  # in which the SDK itself holds on to the arguments
        edited = await RunState.from_json(bot, kept, context_override=RunContextWrapper(Shop(story.ana)))
        (item,) = edited.get_interruptions()
        edited.approve(item)
        told = answers(await run(bot, edited))["call_delete"]
    assert told.startswith("Refused (") or other == READ
    if other == READ:
        story.check_masked(told)


async def test_parallel_calls_one_yes_one_no_one_allowed(story: Story) -> None:
    wanted = [ToolCall(f"call_{n}", "query_database", {"sql": f"DELETE FROM orders WHERE id = {n}"}) for n in (1, 2)]
    wanted += [
        ToolCall("call_read", "query_database", {"sql": READ}),
        ToolCall("call_drop", "query_database", {"sql": "DROP TABLE orders"}),
    ]
    with served(*wanted) as server:
        bot = agent(server, [sql_tool(story.guard)])
        paused = await run(bot, "Go.", Shop(story.ana))
        requests = open_requests(paused)
        assert set(requests) == {"call_1", "call_2"}
        story.guard.approve(requests["call_1"].id, by=story.lead, reason="fine")
        state = paused.to_state()
        assert proceed(state)
        result = await run(bot, state)
        assert set(open_requests(result)) == {"call_2"}
        story.guard.deny(requests["call_2"].id, by=story.lead, reason="no")
        state = result.to_state()
        assert proceed(state)
        told = answers(await run(bot, state))
    assert json.loads(told["call_1"]) == {"rows_changed": 1}
    assert told["call_2"].startswith("Refused (approval.denied)")
    assert told["call_drop"].startswith("Refused (policy.no_rule)")
    story.check_masked(told["call_read"])
    assert story.orders_left() == 3
    check_never_intended(story.guard, "call_2", "call_drop")


async def test_one_yes_is_for_one_of_two_equal_calls(story: Story) -> None:
    twins = [ToolCall(name, "query_database", {"sql": DELETE}) for name in ("one", "two")]
    with served(*twins) as server:
        bot = agent(server, [sql_tool(story.guard)])
        paused = await run(bot, "Go.", Shop(story.ana))
        assert len(paused.interruptions) == 2
        story.approve()
        state = paused.to_state()
        assert proceed(state)
        told = sorted(answers(await run(bot, state)).values())
    assert told[1] == '{"rows_changed":1}'
    assert told[0].startswith("Refused (approval.required)")
    assert len(story.entries("intent")) == 1


async def test_a_state_that_is_resumed_twice_runs_once(story: Story) -> None:
    with served(DELETES) as server:
        bot = agent(server, [sql_tool(story.guard)])
        paused = await run(bot, "Go.", Shop(story.ana))
        kept = json.dumps(paused.to_state().to_json())
        story.approve()
        told: list[str] = []
        for _ in range(3):
            state = await RunState.from_json(bot, json.loads(kept), context_override=RunContextWrapper(Shop(story.ana)))
            for item in state.get_interruptions():
                state.approve(item)
            told.extend(answers(await run(bot, state)).values())
    assert told[0] == '{"rows_changed":1}'
    assert all(text.startswith("Refused (approval.required)") for text in told[1:])
    assert len(story.entries("intent")) == 1


async def test_requests_are_filed_once_and_name_the_agent(story: Story) -> None:
    with served(DELETES) as server:
        bot = agent(server, [sql_tool(story.guard)])
        results = await asyncio.gather(*(run(bot, "Go.", Shop(story.ana)) for _ in range(3)))
        assert len({request.id for result in results for request in open_requests(result).values()}) == 1
    (request,) = story.guard.pending()
    assert request.agent == "bot"
    (asked,) = story.entries("approval.requested")
    assert (asked["tool"], asked["tool_call"]) == ("query_database", DELETES.id)


async def test_a_yes_that_is_there_does_not_pause_and_is_used_by_the_call_alone(story: Story) -> None:
    rejecting = True

    @tool_input_guardrail
    def gate(_: Any) -> ToolGuardrailFunctionOutput:
        allowed, rejected = ToolGuardrailFunctionOutput.allow(), ToolGuardrailFunctionOutput.reject_content("not like this")
        return rejected if rejecting else allowed

    tool = sql_tool(story.guard)
    tool.tool_input_guardrails = [gate]
    with served(DELETES) as server:
        bot = agent(server, [tool])
        await run(bot, "Go.", Shop(story.ana))
        story.approve()
        with nothing_runs(story.database):
            assert (await run(bot, "Go.", Shop(story.ana))).final_output == "not like this"
        assert story.entries("intent", "approval.used") == []
        rejecting = False
        done = await run(bot, "Go.", Shop(story.ana))
        assert json.loads(done.final_output) == {"rows_changed": 1}


async def test_the_model_failing_in_between_runs_nothing_twice(story: Story) -> None:
    steps = [Turn("", (DELETES,)), Failure(500), Failure(429), Turn("Done.")]
    with ModelServer(follow(steps)) as server:
        bot = agent(server, [sql_tool(story.guard)])
        paused = await run(bot, "Go.", Shop(story.ana))
        story.approve()
        state = paused.to_state()
        assert proceed(state)
        assert (await run(bot, state)).final_output == "Done."
    assert len(story.entries("intent")) == 1
    assert story.orders_left() == 3


async def test_actions_wait_too(story: Story) -> None:
    paid: list[int] = []

    @function_tool
    def refund(order: int) -> str:
        """Pays back."""
        paid.append(order)
        return "paid"

    with served(ToolCall("a", "refund", {"order": 3})) as server:
        bot = agent(server, guard_tools(story.guard, [refund]))
        paused = await run(bot, "Go.", Shop(story.ana))
        assert paid == []
        story.approve()
        state = paused.to_state()
        assert proceed(state)
        assert (await run(bot, state)).final_output == "paid"
        assert paid == [3]


async def test_a_tool_that_asks_itself_waits_for_both(story: Story) -> None:
    async def large(_: RunContextWrapper[Any], arguments: dict[str, Any], __: str) -> bool:
        return "orders" in arguments["sql"]

    recorder = Recorder(story.database)
    always = function_tool(recorder.run_sql, name_override="always", needs_approval=True)
    sometimes = function_tool(recorder.run_sql, name_override="sometimes", needs_approval=large)
    tools = guard_tools(story.guard, [always, sometimes])
    wanted = [
        ToolCall("a", "always", {"sql": "SELECT 1"}),
        ToolCall("b", "sometimes", {"sql": DELETE}),
        ToolCall("c", "sometimes", {"sql": "SELECT 2"}),
    ]
    with served(*wanted) as server:
        bot = agent(server, tools)
        paused = await run(bot, "Go.", Shop(story.ana))
        assert [item.name for item in paused.interruptions] == ["always", "sometimes"]
        assert set(open_requests(paused)) == {"b"}
        story.approve()
        state = paused.to_state()
        assert not proceed(state), "they wait for the application"
        for item in state.get_interruptions():
            state.approve(item)
        told = answers(await run(bot, state))
    assert told["a"] == "[[1]]" or "1" in told["a"]
    assert story.orders_left() == 3
    assert len(recorder.seen) == 3


async def test_a_channel_that_answers_lets_nothing_pause(story: Story) -> None:
    def answer(request: ApprovalRequest) -> Answer:
        return Answer(request.rules == ("delete-orders",), story.lead, "fine")

    story.reopen(CallbackChannel(answer))
    with served(DELETES) as server:
        done = await run(agent(server, [sql_tool(story.guard)]), "Go.", Shop(story.ana))
        assert json.loads(done.final_output) == {"rows_changed": 1}
    assert len(story.entries("approval.used")) == 1


async def test_an_agent_behind_a_tool_waits_as_well(story: Story) -> None:
    outer = ToolCall("outer", "ask", {"input": "Delete it."})
    with served(DELETES) as inner, served(outer) as server:
        helper = agent(inner, [sql_tool(story.guard)], handoff_description="helps").clone(name="helper")
        bot = guard_agent(story.guard, agent(server, [guard_agent(story.guard, helper).as_tool("ask", "Asks.")]))
        paused = await run(bot, "Go.", Shop(story.ana))
        (request,) = open_requests(paused).values()
        assert request.agent == "helper"
        state = paused.to_state()
        assert not proceed(state)
        story.approve()
        assert proceed(state)
        done = await run(bot, state)
        assert "rows_changed" in done.final_output
    (intent,) = story.entries("intent")
    assert (intent["agent"]["name"], intent["tool_call"]) == ("helper", "call_delete")
    assert story.orders_left() == 3


def _one_by_one(*wanted: ToolCall) -> Any:
    def script(told: Conversation) -> Turn:
        done = len(told.results)
        return Turn("", (wanted[done],)) if done < len(wanted) else Turn(told.last)

    return script


async def test_somebody_elses_state_does_not_go_on_in_her_name(story: Story) -> None:
    bo = signed("bo@example.com", "support")
    with nothing_runs(story.database), served(DELETES) as server:
        bot = agent(server, [sql_tool(story.guard)])
        paused = await run(bot, "Go.", Shop(story.ana))
        kept = paused.to_state().to_json()
        story.approve()
        state = await RunState.from_json(bot, kept, context_override=RunContextWrapper(Shop(bo)))
        proceed(state)
        done = await run(bot, state)
    assert done.final_output.startswith("Refused (approval.required)")
    assert [request.requester for request in story.guard.pending()] == [bo.id]


async def test_a_yes_holds_for_all_arguments_of_a_tool(story: Story) -> None:
    recorder = Recorder(story.database)

    def export(sql: str, to: str) -> str:
        """Runs a statement and sends what comes back."""
        return f"{to}: {recorder.run_sql(sql)}"

    tools = guard_tools(story.guard, [export])
    first, second = (ToolCall(to, "export", {"sql": DELETE, "to": to}) for to in ("ana", "eve"))
    with served(first) as server:
        assert len((await run(agent(server, tools), "Go.", Shop(story.ana))).interruptions) == 1
    story.approve()
    with nothing_runs(story.database), served(second) as server:
        assert len((await run(agent(server, tools), "Go.", Shop(story.ana))).interruptions) == 1
    with served(first) as server:
        assert (await run(agent(server, tools), "Go.", Shop(story.ana))).final_output == "ana: []"
    assert len(recorder.seen) == 1
