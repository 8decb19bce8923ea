"""LangChain's real chat models against the scripted server, and agents and graphs that play the story with them."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Send

from guardrails import Principal

__all__ = ["AGENT", "MODELS", "People", "agent_of", "asaver", "asked", "chat", "graph_of", "in_thread", "saver"]

AGENT = "shop-bot"
MODELS = {"openai": "gpt-9", "anthropic": "claude-9"}
"""The models' names by vendor."""


class People:
    """What an application gives to a run: who is behind it."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal


def chat(vendor: str, url: str) -> BaseChatModel:
    """Returns the vendor's chat model, pointed at a scripted server."""
    if vendor == "openai":
        return ChatOpenAI(model=MODELS[vendor], base_url=f"{url}/v1", api_key="k", stream_usage=False)
    return ChatAnthropic(model_name=MODELS[vendor], base_url=url, api_key="k")


def in_thread(name: str) -> Any:
    """The configuration of a conversation."""
    return {"configurable": {"thread_id": name}}


def asked(question: str) -> Any:
    """The input of a graph that somebody asks something."""
    return {"messages": [{"role": "user", "content": question}]}


def agent_of(model: BaseChatModel, tools: list[Any], **more: Any) -> Any:
    """Returns LangChain's own agent."""
    return create_agent(model, tools, name=AGENT, context_schema=People, **more)


def graph_of(model: BaseChatModel, tools: list[BaseTool], checkpointer: Any = None, **wraps: Any) -> Any:
    """Returns a graph with LangGraph's `ToolNode`, in which each tool call is a step of its own; `wraps` are for the node."""
    bound = model.bind_tools(tools)
    graph: Any = StateGraph(MessagesState, context_schema=People)
    graph.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode(tools, **wraps))
    graph.add_edge(START, "model")

    def wanted(state: Any) -> Any:
        calls = state["messages"][-1].tool_calls
        return [Send("tools", [call]) for call in calls] if calls else tools_condition(state)

    graph.add_conditional_edges("model", wanted, ["tools", "__end__"])
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=checkpointer)


@contextmanager
def saver(folder: Path) -> Iterator[SqliteSaver]:
    """Opens the checkpoints of a folder, as each new process does."""
    connection = sqlite3.connect(folder / "checkpoints.db", check_same_thread=False)
    try:
        yield SqliteSaver(connection)
    finally:
        connection.close()


@asynccontextmanager
async def asaver(folder: Path) -> AsyncIterator[AsyncSqliteSaver]:
    """As `saver`, for graphs that are called asynchronously."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as opened:
        yield opened
