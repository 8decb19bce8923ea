"""What of LangChain's tools survives being guarded: injected arguments, artifacts, messages, commands, streams, schemas, handlers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, StructuredTool, ToolException, tool
from langgraph.config import get_stream_writer
from langgraph.prebuilt import InjectedState, InjectedStore, ToolRuntime
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from pydantic import BaseModel, ConfigDict, Field

from guardrails import UsageError
from guardrails.approval import Answer, CallbackChannel
from guardrails.integrations.langchain import guard_tools
from guardrails.model import ApprovalRequest
from guardrails.testing import ModelServer, ToolCall, Turn, follow
from tests.support.langchain_agents import People, agent_of, asked, chat
from tests.support.paused_shop import loopback
from tests.support.story import DROP, POLICY, Story

NAMES = "inject, runtime, stream, command, message, retrieve, plain, pay, order, strict"
MORE = f"""
  - {{id: others, effect: allow, actions: [{NAMES}], principals: {{groups: [support]}}}}
  - {{id: paying, effect: approve, actions: [pay], principals: {{groups: [support]}}, approval: {{groups: [leads]}}}}
columns:"""
MAIL = "ada@example.com"


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    loopback(monkeypatch)
    with Story.open(tmp_path, policy=POLICY.replace("\ncolumns:", MORE)) as opened:
        yield opened


def called(story: Story, given: BaseTool, args: dict[str, Any], **more: Any) -> tuple[dict[str, Any], list[Any]]:
    """Lets an agent call a guarded tool; returns the final state and what was streamed by the tool itself."""
    (guarded,) = guard_tools(story.guard, [given])
    assert guarded.tool_call_schema.model_json_schema() == given.tool_call_schema.model_json_schema()
    streamed, state = [], {}
    with ModelServer(follow([Turn("", (ToolCall("call_1", given.name, args),)), Turn("Done.")])) as server:
        agent = agent_of(chat("openai", server.url), [guarded], **more)
        for kind, chunk in agent.stream(asked("Do."), context=People(story.ana), stream_mode=["custom", "values"]):
            if kind == "custom":
                streamed.append(chunk)
            else:
                state = chunk
    return state, streamed


def answer(state: dict[str, Any]) -> ToolMessage:
    """The tool's message in a state."""
    (message,) = [message for message in state["messages"] if message.type == "tool"]
    return message


def test_everything_that_is_injected(story: Story) -> None:
    @tool
    def inject(
        topic: str,
        state: Annotated[dict[str, Any], InjectedState],
        messages: Annotated[list[Any], InjectedState("messages")],
        store: Annotated[Any, InjectedStore()],
        call_id: Annotated[str, InjectedToolCallId],
        config: RunnableConfig,
    ) -> str:
        """Uses everything."""
        store.put(("seen",), "topic", {"text": topic})
        return f"{topic} {len(state['messages'])} {len(messages)} {call_id} {config['metadata']['langgraph_node']}"

    store = InMemoryStore()
    state, _ = called(story, inject, {"topic": "x"}, store=store)
    assert answer(state).content == "x 2 2 call_1 tools"
    assert store.get(("seen",), "topic").value == {"text": "x"}
    (intent,) = story.entries("intent")
    assert (intent["tool"], intent["tool_call"]) == ("inject", "call_1")


def test_the_runtime_and_its_stream(story: Story) -> None:
    @tool
    def runtime(topic: str, runtime: ToolRuntime[People, Any]) -> str:
        """Uses the runtime."""
        runtime.stream_writer({"half": topic})
        return f"{topic} {runtime.tool_call_id} {runtime.context.principal.id} {len(runtime.state['messages'])}"

    state, streamed = called(story, runtime, {"topic": "x"})
    assert answer(state).content == "x call_1 [email] 2"
    assert streamed == [{"half": "x"}]


async def test_a_stream_writer_in_a_coroutine(story: Story) -> None:
    @tool
    async def stream(topic: str) -> str:
        """Streams."""
        get_stream_writer()(topic)
        return "done"

    (guarded,) = guard_tools(story.guard, [stream])
    with ModelServer(follow([Turn("", (ToolCall("call_1", "stream", {"topic": "x"}),)), Turn("Done.")])) as server:
        agent = agent_of(chat("openai", server.url), [guarded])
        streamed = [c async for c in agent.astream(asked("Do."), context=People(story.ana), stream_mode="custom")]
    assert streamed == ["x"]


def test_commands_and_messages_of_a_tools_own(story: Story) -> None:
    @tool
    def command(topic: str, call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Changes the state."""
        return Command(update={"messages": [ToolMessage(f"{topic} {MAIL}", tool_call_id=call_id, name="command")]})

    @tool
    def message(topic: str, call_id: Annotated[str, InjectedToolCallId]) -> ToolMessage:
        """Answers with a message."""
        return ToolMessage([{"type": "text", "text": MAIL}], tool_call_id=call_id, name="message", artifact={"to": MAIL})

    state, _ = called(story, command, {"topic": "x"})
    assert (answer(state).content, answer(state).tool_call_id) == ("x [email]", "call_1")
    state, _ = called(story, message, {"topic": "x"})
    assert answer(state).content == [{"type": "text", "text": "[email]"}]
    assert answer(state).artifact == {"to": "[email]"}


def test_documents_are_artifacts(story: Story) -> None:
    @tool(response_format="content_and_artifact")
    def retrieve(topic: str) -> tuple[str, list[Document]]:
        """Finds documents."""
        found = [Document(f"{topic} {MAIL}", id="d1", metadata={"source": "mail"})]
        return found[0].page_content, found

    state, _ = called(story, retrieve, {"topic": "x"})
    assert answer(state).content == "x [email]"
    (document,) = answer(state).artifact
    assert isinstance(document, Document)
    assert (document.page_content, document.id, document.metadata) == ("x [email]", "d1", {"source": "mail"})


@dataclass
class Paid:
    to: str
    amounts: tuple[int, ...]


class Receipt(BaseModel):
    to: str
    paid: Paid


def test_values_keep_their_types(story: Story) -> None:
    @tool(response_format="content_and_artifact")
    def plain(topic: str) -> tuple[str, Any]:
        """Returns all sorts of things."""
        return topic, (Receipt(to=MAIL, paid=Paid(MAIL, (1, 2))), [(1, MAIL)], {7: {"x": MAIL}}, {1, 2}, b"\x00", None)

    (guarded,) = guard_tools(story.guard, [plain])
    with story.guard.session(principal=story.ana):
        result = guarded.invoke({"name": "plain", "args": {"topic": "t"}, "id": "c", "type": "tool_call"})
    assert result.artifact == (
        Receipt(to="[email]", paid=Paid("[email]", (1, 2))),
        [(1, "[email]")],
        {7: {"x": "[email]"}},
        {1, 2},
        b"\x00",
        None,
    )


def test_a_tool_with_two_arguments_of_sql_says_which(story: Story) -> None:
    def both(sql: str, query: str) -> str:
        """Runs the one after the other."""
        return f"{sql}; {query}"

    def filled(query: str, sql: Annotated[str, InjectedState("sql")]) -> str:
        """Has one that the model does not give."""
        return f"{sql}; {query}"

    with pytest.raises(UsageError, match="not clear which"):
        guard_tools(story.guard, [both])
    (named,) = guard_tools(story.guard, [both], sql_argument="sql")
    with story.guard.session(principal=story.ana):
        assert named.invoke({"sql": DROP, "query": "x"}).startswith("Refused (policy.no_rule)")
        (ours,) = guard_tools(story.guard, [filled])
        assert ours.invoke({"query": DROP, "sql": "SELECT 1"}).startswith("Refused (policy.no_rule)")


class Aliased(BaseModel):
    """Pays."""

    model_config = ConfigDict(populate_by_name=True)
    amount: int = Field(alias="amountCents")
    to: str = "shop"
    secret: Annotated[str, InjectedToolArg] = "none"


def test_what_a_person_approves_is_all_that_the_model_gave(story: Story) -> None:
    paid: list[tuple[int, str]] = []

    def pay(amount: int, to: str, secret: str) -> str:
        paid.append((amount, to))
        return "paid"

    (guarded,) = guard_tools(story.guard, [StructuredTool.from_function(pay, args_schema=Aliased)])
    with story.guard.session(principal=story.ana):
        assert guarded.invoke({"amount": 100}).startswith("Refused (approval.required)")
        story.approve()
        # Another amount or another payee is another request.
        assert guarded.invoke({"amount": 99900}).startswith("Refused (approval.required)")
        assert guarded.invoke({"amount": 100, "to": "eve"}).startswith("Refused (approval.required)")
        assert paid == []
        assert guarded.invoke({"amount": 100}) == "paid"
    assert paid == [(100, "shop")]


def test_what_somebody_is_asked_about_does_not_change_meanwhile(story: Story) -> None:
    given, paid = {"cents": [100]}, []

    @tool
    def pay(order: Any) -> str:
        """Pays."""
        paid.append(order["cents"][0])
        return "paid"

    def ask(request: ApprovalRequest) -> Answer:
        # Another tool of the same turn, which has the state, would do this.
        given["cents"][0] = 99900
        return Answer(is_approved=True, by=story.lead, reason="A hundred is fine.")

    story.reopen(CallbackChannel(ask))
    (guarded,) = guard_tools(story.guard, [pay])
    with story.guard.session(principal=story.ana):
        assert guarded.invoke({"name": "pay", "args": {"order": given}, "id": "c", "type": "tool_call"}).content == "paid"
    assert paid == [100]


def test_a_purpose_counts_only_beside_a_principal(story: Story) -> None:
    (guarded,) = guard_tools(
        story.guard, [StructuredTool.from_function(lambda topic: topic, name="plain", description="Says.")]
    )
    with story.guard.session(principal=story.ana):
        guarded.invoke({"topic": "x"}, {"configurable": {"purpose": "anything"}})
        guarded.invoke({"topic": "x"}, {"configurable": {"purpose": "reports", "principal": story.ana}})
    assert [entry["purpose"] for entry in story.entries("intent")] == [None, "reports"]


def test_schemas_in_json_and_handlers(story: Story) -> None:
    async def order(**given: Any) -> str:
        return f"{sorted(given)}"

    schema = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"], "title": "order"}
    remote = StructuredTool(name="order", description="Orders.", args_schema=schema, coroutine=order)

    @tool
    def strict(number: int) -> str:
        """Takes a number."""
        return str(number)

    strict.handle_validation_error = lambda error: f"mend {error.error_count()}"
    with_schema, handling = guard_tools(story.guard, [remote, strict])
    assert with_schema.args_schema == schema
    with story.guard.session(principal=story.ana):
        assert handling.invoke({"name": "strict", "args": {"number": "x"}, "id": "c", "type": "tool_call"}).content == "mend 1"
        with pytest.raises(NotImplementedError):
            with_schema.invoke({"item": "tea"})


async def test_a_coroutine_with_a_schema_in_json(story: Story) -> None:
    async def order(**given: Any) -> str:
        return f"{sorted(given.items())}"

    schema = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"], "title": "order"}
    (guarded,) = guard_tools(
        story.guard, [StructuredTool(name="order", description="Orders.", args_schema=schema, coroutine=order)]
    )
    with story.guard.session(principal=story.ana):
        assert await guarded.ainvoke({"item": "tea"}) == "[('item', 'tea')]"


class Watching(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_tool_start(
        self, serialized: dict[str, Any], input_str: str, *, tags: Any = None, metadata: Any = None, **_: Any
    ) -> None:
        self.seen.append((serialized["name"], "mine" in (tags or ()), (metadata or {}).get("team")))

    def on_tool_end(self, output: Any, **_: Any) -> None:
        self.seen.append(output.content)


def test_everything_else_about_a_tool(story: Story) -> None:
    @tool(return_direct=True, extras={"defer_loading": True})
    def plain(topic: str) -> str:
        """Says."""
        return topic

    plain.tags, plain.metadata = ["mine"], {"team": "shop"}
    watching = Watching()
    plain.callbacks = [watching]
    (guarded,) = guard_tools(story.guard, [plain])
    kept = ("name", "description", "args_schema", "return_direct", "tags", "metadata", "extras", "response_format", "callbacks")
    assert all(getattr(guarded, name) == getattr(plain, name) for name in kept)
    state, _ = called(story, plain, {"topic": "direct"})
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool"]
    assert watching.seen == [("plain", True, "shop"), "direct"]


def test_what_a_tool_raises_for_the_model_is_looked_through(story: Story) -> None:
    @tool
    def plain() -> str:
        """Fails."""
        raise ToolException(f"No such customer: {MAIL}")

    plain.handle_tool_error = True
    state, _ = called(story, plain, {})
    assert "No such customer: [email]" in str(state["messages"])
    assert MAIL not in str(state["messages"])
