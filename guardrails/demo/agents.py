"""Three agents, each the smallest loop that its vendor's own client needs, with one guarded SQL tool.

An agent knows nothing of policies: the tool answers with rows or with a refusal to read, and the conversation goes on. The clients
are imported when their agent is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from guardrails.demo.scenes import AgentKind
from guardrails.errors import UsageError
from guardrails.guard import Guard

__all__ = ["CLIENTS", "MODEL", "Agent", "Says", "build_agent"]

MODEL = "scripted"
"""The name under which the scripted model is asked for, and recorded."""
CLIENTS: Mapping[AgentKind, str] = {"openai": "OpenAI SDK", "langchain": "LangChain", "anthropic": "Anthropic SDK"}
"""What each agent is built with, for people."""

_KEY = "demo"
_TOOL_DESCRIPTION = "Runs one SQL statement on the shop's database and returns its rows."
_INSTRUCTIONS = "You work for a shop. Answer with the query tool. When it refuses, read why and repair your query."
_MAX_TURNS = 10

Says = Callable[[str], None]
"""Told what the model says along with a call."""


class Agent(Protocol):
    """An agent that keeps its conversation."""

    def ask(self, question: str) -> str:
        """Returns the final answer to a person's message."""
        ...


def build_agent(kind: AgentKind, guard: Guard, url: str, says: Says) -> Agent:
    """Builds an agent.

    Args:
        kind: The client it is built with.
        guard: What its tool goes through; a session must be active when it is asked.
        url: Root of the model server.
        says: Told what the model says along with each call.

    Raises:
        UsageError: The client is not installed (usage.extra_missing).
    """
    try:
        return _BUILDERS[kind](guard, url, says)
    except ModuleNotFoundError as error:
        raise UsageError(
            "usage.extra_missing",
            f"The demo's {CLIENTS[kind]} agent needs the package {error.name}.",
            hint="Install guardrails-sql[demo].",
        ) from error


class _OpenAIAgent:
    """The Responses API, called until no function call is left."""

    def __init__(self, guard: Guard, url: str, says: Says) -> None:
        from openai import OpenAI

        from guardrails.integrations.openai import SqlTool

        self._client = OpenAI(base_url=f"{url}/v1", api_key=_KEY)
        self._tool = SqlTool(guard, description=_TOOL_DESCRIPTION)
        self._definitions: list[Any] = [self._tool.responses_definition()]
        self._says = says
        self._items: list[Any] = []

    def ask(self, question: str) -> str:
        self._items.append({"role": "user", "content": question})
        for _ in range(_MAX_TURNS):
            response = self._client.responses.create(
                model=MODEL, instructions=_INSTRUCTIONS, input=self._items, tools=self._definitions
            )
            self._items += response.output
            answers = self._tool.run(response)
            if not answers:
                return response.output_text
            self._says(response.output_text)
            self._items += answers
        raise _endless()


class _AnthropicAgent:
    """The Messages API, called until no tool use is left."""

    def __init__(self, guard: Guard, url: str, says: Says) -> None:
        from anthropic import Anthropic

        from guardrails.integrations.anthropic import SqlTool

        self._client = Anthropic(base_url=url, api_key=_KEY)
        self._tool = SqlTool(guard, description=_TOOL_DESCRIPTION)
        self._definitions: list[Any] = [self._tool.definition()]
        self._says = says
        self._messages: list[Any] = []

    def ask(self, question: str) -> str:
        self._messages.append({"role": "user", "content": question})
        for _ in range(_MAX_TURNS):
            message = self._client.messages.create(
                model=MODEL, max_tokens=1000, system=_INSTRUCTIONS, messages=self._messages, tools=self._definitions
            )
            self._messages.append({"role": "assistant", "content": message.content})
            said = "".join(block.text for block in message.content if block.type == "text")
            results = self._tool.run(message)
            if results is None:
                return said
            self._says(said)
            self._messages.append(results)
        raise _endless()


class _LangChainAgent:
    """LangChain's own agent loop over Chat Completions, with the guarded tool among its tools."""

    def __init__(self, guard: Guard, url: str, says: Says) -> None:
        from langchain.agents import create_agent
        from langchain_openai import ChatOpenAI
        from pydantic import SecretStr

        from guardrails.integrations.langchain import sql_tool

        model = ChatOpenAI(model=MODEL, base_url=f"{url}/v1", api_key=SecretStr(_KEY))
        tool = sql_tool(guard, description=_TOOL_DESCRIPTION)
        self._agent: Any = create_agent(model, [tool], system_prompt=_INSTRUCTIONS)
        self._says = says
        self._messages: list[Any] = []

    def ask(self, question: str) -> str:
        self._messages.append({"role": "user", "content": question})
        state: dict[str, Any] = {"messages": self._messages}
        seen = len(self._messages)
        for state in self._agent.stream({"messages": self._messages}, stream_mode="values"):
            for message in state["messages"][seen:]:
                if getattr(message, "tool_calls", None):
                    self._says(str(message.content))
            seen = len(state["messages"])
        self._messages = state["messages"]
        return str(self._messages[-1].content)


_BUILDERS: Mapping[AgentKind, Callable[[Guard, str, Says], Agent]] = {
    "openai": _OpenAIAgent,
    "langchain": _LangChainAgent,
    "anthropic": _AnthropicAgent,
}


def _endless() -> UsageError:
    return UsageError("usage.bug", f"The model did not come to an answer within {_MAX_TURNS} turns.")
