"""Guarded tools for OpenAI's clients: definitions, both call forms, and whole conversations with the real client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import Field

from guardrails import Guard, Sql, UsageError
from guardrails.demo.script import Answer, Attempt, Question, next_turn
from guardrails.integrations.openai import SqlTool, guard_tools
from guardrails.testing import ModelServer
from tests.support.guarded_shop import LEAD, open_guard, tool_entries

QUESTION = Question(
    "How many orders are open?",
    attempts=(
        Attempt("SELECT * FROM employees", "Looking."),
        Attempt("SELECT COUNT(*) AS n FROM orders", "Again.", after="refused"),
    ),
    answers=(Answer("{rows[0][n]} orders.", after="answered"), Answer("I may not.")),
)


@pytest.fixture
def guard(sqlite_path: Path, tmp_path: Path) -> Iterator[Guard]:
    with open_guard(f"sqlite:///{sqlite_path}", tmp_path) as opened:
        yield opened


def chat_call(name: str, arguments: object, call_id: str = "call_1") -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def test_rows_and_refusals_are_text(guard: Guard) -> None:
    tool = SqlTool(guard)
    answer = tool.handle(
        chat_call("query_database", {"sql": "SELECT id, email, name AS id FROM customers ORDER BY id LIMIT 1"})
    )
    assert answer["role"] == "tool"
    assert answer["tool_call_id"] == "call_1"
    expected = {"columns": ["id", "email", "id_2"], "rows": [{"id": 1, "email": "hidden", "id_2": "Ada"}]}
    assert json.loads(answer["content"]) == expected
    refused = tool.handle(chat_call("query_database", {"sql": "SELECT * FROM employees"}, "call_2"))["content"]
    assert refused.startswith("Refused (")
    assert tool_entries(guard) == [("query_database", "call_1", "intent"), ("query_database", "call_2", "refusal")]


def test_writes_say_how_many_rows(guard: Guard) -> None:
    answer = SqlTool(guard).handle(chat_call("query_database", {"sql": "UPDATE orders SET status = 'x' WHERE id < 3"}))
    assert json.loads(answer["content"]) == {"rows_changed": 2}


def test_waiting_for_approval_names_the_request(guard: Guard) -> None:
    tool = SqlTool(guard)
    call = chat_call("query_database", {"sql": "DELETE FROM orders WHERE id = 4"})
    waiting = tool.handle(call)["content"]
    (request,) = guard.pending()
    assert waiting.startswith("Refused (approval.required)")
    assert request.id in waiting
    guard.approve(request.id, by=LEAD)
    assert json.loads(tool.handle(call)["content"]) == {"rows_changed": 1}


@pytest.mark.parametrize("arguments", ["{", "[]", "null", "{}", '{"sql": 1}', '{"sql": "SELECT 1", "more": 2}'])
def test_malformed_arguments_are_text(guard: Guard, arguments: str) -> None:
    content = SqlTool(guard).handle(chat_call("query_database", arguments))["content"]
    assert content.startswith("Refused (usage.input_invalid)")
    assert tool_entries(guard) == []


def test_unknown_tools_are_text(guard: Guard) -> None:
    assert "query_database" in SqlTool(guard).handle(chat_call("drop_it", {}))["content"]
    custom = {"id": "c", "type": "custom", "custom": {"name": "free", "input": "text"}}
    assert "There is no tool 'free' that takes free text." in SqlTool(guard).handle(custom)["content"]
    with pytest.raises(UsageError):
        SqlTool(guard).handle({"type": "message"})


def test_no_session_is_the_programs_mistake(sqlite_path: Path, tmp_path: Path) -> None:
    with open_guard(f"sqlite:///{sqlite_path}", tmp_path) as guard:
        pass
    with pytest.raises(UsageError, match=r"usage\.no_session"):
        SqlTool(guard).handle(chat_call("query_database", {"sql": "SELECT 1"}))


def run_report(
    text: Annotated[str, Sql], schema: Literal["short", "long"] = "short", params: dict[str, Any] | None = None
) -> Any:
    """Runs a report.

    Args:
        text: The statement to
            run.
        schema: How much.
    """
    return {"text": text, "schema": schema, "price": Decimal("1.50"), "day": date(2026, 1, 2), "mails": ("eve@example.com",)}


def send_mail(to: str, copies: int = 1) -> str:
    """Sends a mail."""
    return f"sent {copies} to {to!r}"


async def report(day: date) -> dict[str, object]:
    """Reports on a day."""
    return {"day": day}


def test_definitions_come_from_hints_and_are_strict(guard: Guard) -> None:
    tools = guard_tools(guard, [run_report, send_mail, report])
    first, second, third = (d["function"] for d in tools.chat_definitions())
    assert tools.responses_definitions()[1] == {"type": "function", **second}
    assert first["description"] == "Runs a report."
    assert first["strict"] is False  # a dictionary of any keys
    assert first["parameters"]["properties"]["text"] == {"type": "string", "description": "The statement to run."}
    assert second["strict"] is third["strict"] is True
    for definition in (first, second, third):
        jsonschema.Draft202012Validator.check_schema(definition["parameters"])
        assert definition["parameters"]["additionalProperties"] is False
        assert definition["parameters"]["required"] == list(definition["parameters"]["properties"])
    jsonschema.validate({"to": "a", "copies": None}, second["parameters"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"to": "a", "copies": 1, "more": 1}, second["parameters"])


class Colour(Enum):
    RED = "red"


def any_items(of: list) -> None: ...  # type: ignore[type-arg]


def fixed_items(of: tuple[int, int]) -> None: ...


def distinct_items(of: set[int]) -> None: ...


def anything(of=None) -> None: ...  # type: ignore[no-untyped-def]


def long_text(of: Annotated[str, Field(min_length=2)]) -> None: ...


def path(of: Path) -> None: ...


@pytest.mark.parametrize("function", [any_items, fixed_items, distinct_items, anything, long_text, path])
def test_what_no_strict_schema_can_say_is_not_called_strict(guard: Guard, function: Callable[..., object]) -> None:
    """The vendor refuses the whole request for a schema that is called strict and is not."""
    (definition,) = guard_tools(guard, [function]).responses_definitions()
    assert definition["strict"] is False


def test_nothing_stands_beside_a_reference(guard: Guard) -> None:
    def paint(colour: Colour, other: Colour = Colour.RED) -> None:
        """Paints.

        Args:
            colour: Of the wall.
            other: Of the door.
        """

    (definition,) = guard_tools(guard, [paint]).responses_definitions()
    assert definition["strict"] is True
    reference = {"anyOf": [{"$ref": "#/$defs/Colour"}]}
    assert definition["parameters"]["properties"]["colour"] == {**reference, "description": "Of the wall."}
    jsonschema.validate({"colour": "red", "other": None}, definition["parameters"])


async def test_functions_are_guarded(guard: Guard) -> None:
    tools = guard_tools(guard, [run_report, send_mail, report])
    call = chat_call("run_report", {"text": "select id from orders -- all", "schema": None, "params": None})
    found = json.loads(tools.handle(call)["content"])
    assert "--" not in found["text"]
    assert found["schema"] == "short"
    assert (found["price"], found["day"], found["mails"]) == ("1.50", "2026-01-02", ["[email]"])
    assert tools.handle(chat_call("send_mail", {"to": "x", "copies": None}))["content"] == "sent 1 to 'x'"
    with pytest.raises(UsageError, match="asynchronous"):
        tools.handle(chat_call("report", {"day": "2026-01-02"}))
    answer = await tools.ahandle(chat_call("report", {"day": "2026-01-02"}))
    assert json.loads(answer["content"]) == {"day": "2026-01-02"}
    assert (await tools.ahandle(chat_call("report", {"day": "no day"})))["content"].startswith("Refused (usage.input_invalid)")


def test_actions_without_a_rule_are_refused_and_not_called(guard: Guard) -> None:
    called = []

    def wire_money(amount: int) -> None:
        called.append(amount)

    content = guard_tools(guard, [wire_money]).handle(chat_call("wire_money", {"amount": 1}))["content"]
    assert content.startswith("Refused (policy.no_rule)")
    assert called == []


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ModelServer(lambda conversation: next_turn((QUESTION,), conversation)) as server:
        yield server.url


def test_chat_conversation(guard: Guard, url: str) -> None:
    openai = pytest.importorskip("openai")
    client, tool = openai.OpenAI(base_url=f"{url}/v1", api_key="k"), SqlTool(guard)
    messages: list[Any] = [{"role": "user", "content": QUESTION.text}]
    while True:
        completion = client.chat.completions.create(model="m", messages=messages, tools=[tool.chat_definition()])
        message = completion.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            break
        messages += [tool.handle(call) for call in message.tool_calls]
    assert message.content == "4 orders."
    assert [kind for _, _, kind in tool_entries(guard)] == ["refusal", "intent"]


async def test_responses_conversation(guard: Guard, url: str) -> None:
    openai = pytest.importorskip("openai")
    client, tool = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k"), SqlTool(guard)
    items: list[Any] = [{"role": "user", "content": QUESTION.text}]
    while True:
        response = await client.responses.create(model="m", input=items, tools=[tool.responses_definition()])
        items += response.output
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            break
        items += [await tool.ahandle(call) for call in calls]
    assert response.output_text == "4 orders."
    assert {call for _, call, _ in tool_entries(guard)} == {
        c.call_id for c in items if getattr(c, "type", "") == "function_call"
    }
