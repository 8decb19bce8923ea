"""What the guard adds to one tool call, framework by framework: the guarded tool against the bare one, interleaved in one run.

    python -m benchmarks.integrations [--calls 200] [--only langchain,openai]

CrewAI is measured where it is installed, in the environment that its tests have made: `.venv-apart/bin/python -m benchmarks.integrations`.

The bare tool runs `SELECT … WHERE id = ?` on a SQLite file of 10,000 orders and returns its rows as JSON text; the guarded one is the same
tool behind the guard: judged, masked, intent and outcome signed and durable, scanned. Both are called as the framework calls a tool,
without a model. A figure is the quotient of the two medians, and their difference in milliseconds; `statement alone` is the guard without a
framework, against the engine's driver. The ledger lies on the temporary folder's device.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guardrails import Guard, Policy, Principal

ROOT = Path(__file__).resolve().parent.parent
ANA = Principal("ana@example.com", frozenset({"support"}))
POLICY = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [orders], principals: {groups: [support]}}
columns:
  orders.email: {mask: full}
"""
SQL = "SELECT id, status, email FROM orders WHERE id = 4711"
ARGUMENTS = {"sql": SQL}
ROWS = 10_000

Call: TypeAlias = Callable[[], Awaitable[object]]
Medians: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """The same call, bare and guarded."""

    bare: Call
    guarded: Call


@dataclass(frozen=True, slots=True)
class Setting:
    """What every case is made from."""

    guard: Guard
    query: Callable[..., str]
    folder: Path
    stack: AsyncExitStack

    @property
    def path(self) -> Path:
        """Of the database."""
        return self.folder / "shop.db"


def alone(setting: Setting) -> Pair:
    async def guarded() -> object:
        return setting.guard.execute(SQL)

    return Pair(_sync(setting.query, **ARGUMENTS), guarded)


def function(setting: Setting) -> Pair:
    return Pair(_sync(setting.query, **ARGUMENTS), _sync(setting.guard.tool(setting.query), **ARGUMENTS))


def langchain(setting: Setting) -> Pair:
    from langchain_core.tools import StructuredTool

    from guardrails.integrations.langchain import guard_tools

    bare = StructuredTool.from_function(setting.query)
    (guarded,) = guard_tools(setting.guard, [bare])
    call = {"type": "tool_call", "id": "call_1", "name": bare.name, "args": ARGUMENTS}
    return Pair(_sync(bare.invoke, call), _sync(guarded.invoke, call))


def openai(setting: Setting) -> Pair:
    from guardrails.integrations.openai import guard_tools

    call = {"id": "call_1", "type": "function", "function": {"name": "query", "arguments": json.dumps(ARGUMENTS)}}

    async def bare() -> object:
        return {"role": "tool", "content": setting.query(**json.loads(call["function"]["arguments"]))}  # type: ignore[index]

    return Pair(bare, _sync(guard_tools(setting.guard, [setting.query]).handle, call))


def anthropic(setting: Setting) -> Pair:
    from guardrails.integrations.anthropic import guard_tools

    call = {"id": "call_1", "type": "tool_use", "name": "query", "input": ARGUMENTS}

    async def bare() -> object:
        return {"type": "tool_result", "content": setting.query(**ARGUMENTS)}

    return Pair(bare, _sync(guard_tools(setting.guard, [setting.query]).handle, call))


def openai_agents(setting: Setting) -> Pair:
    from agents import function_tool
    from agents.tool_context import ToolContext

    from guardrails.integrations.openai_agents import guard_tools

    text = json.dumps(ARGUMENTS)
    bare = function_tool(setting.query)
    (guarded,) = guard_tools(setting.guard, [bare])

    def call(tool: Any) -> Call:
        context = ToolContext(None, tool_name=tool.name, tool_call_id="call_1", tool_arguments=text)
        return lambda: tool.on_invoke_tool(context, text)

    return Pair(call(bare), call(guarded))


def pydantic_ai(setting: Setting) -> Pair:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import AgentInfo, FunctionModel
    from pydantic_ai.toolsets import FunctionToolset

    from guardrails.integrations.pydantic_ai import GuardToolset

    async def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        return ModelResponse([TextPart("done") if len(messages) > 1 else ToolCallPart("query", ARGUMENTS)])

    def run(toolset: Any) -> Call:
        agent = Agent(FunctionModel(answer), toolsets=[toolset])
        return lambda: agent.run("Which status?")

    bare = FunctionToolset[None]([setting.query])
    return Pair(run(bare), run(GuardToolset(setting.guard, bare)))


def llama_index(setting: Setting) -> Pair:
    from llama_index.core.tools import FunctionTool

    from guardrails.integrations.llama_index import guard_tools

    bare = FunctionTool.from_defaults(setting.query)
    (guarded,) = guard_tools(setting.guard, [bare])
    return Pair(_sync(bare.call, **ARGUMENTS), _sync(guarded.call, **ARGUMENTS))


def sqlalchemy(setting: Setting) -> Pair:
    import sqlalchemy as sa

    def read(engine: sa.Engine) -> object:
        with engine.connect() as connection:
            return connection.execute(sa.text(SQL)).all()

    bare, guarded = sa.create_engine(f"sqlite:///{setting.path}"), setting.guard.engine()
    return Pair(_sync(read, bare), _sync(read, guarded))


def langgraph(setting: Setting) -> Pair:
    from langchain_core.messages import AIMessage
    from langchain_core.tools import StructuredTool
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode

    from guardrails.integrations.langchain import guard_tools

    def call(tool: Any) -> Call:
        graph = StateGraph(MessagesState).add_node("tools", ToolNode([tool])).add_edge(START, "tools").compile()
        message = AIMessage("", tool_calls=[{"name": tool.name, "args": ARGUMENTS, "id": "call_1"}])
        return _sync(graph.invoke, {"messages": [message]})

    bare = StructuredTool.from_function(setting.query)
    return Pair(call(bare), call(guard_tools(setting.guard, [bare])[0]))


def crewai(setting: Setting) -> Pair:
    from crewai.tools import tool

    from guardrails.integrations.crewai import guard_tools

    bare = tool("query")(setting.query)
    (guarded,) = guard_tools(setting.guard, [bare])
    return Pair(_sync(bare.run, **ARGUMENTS), _sync(guarded.run, **ARGUMENTS))


async def mcp_server(setting: Setting) -> Pair:
    from mcp.client.client import Client
    from mcp.server.mcpserver import MCPServer

    from guardrails.integrations.mcp import add_sql_tool

    bare, guarded = MCPServer("bare"), MCPServer("guarded")
    bare.add_tool(setting.query, name="query")
    add_sql_tool(guarded, setting.guard, session=lambda _: setting.guard.session(principal=ANA), name="query")
    clients = [await setting.stack.enter_async_context(Client(server)) for server in (bare, guarded)]
    return Pair(*(partial(client.call_tool, "query", ARGUMENTS) for client in clients))


async def mcp_gateway(setting: Setting) -> Pair:
    from mcp.client.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    from guardrails.mcp_gateway import Gateway, GatewayConfig, LockFile, accept

    arguments = ["-m", "benchmarks.integrations", "--serve", str(setting.path)]
    upstream = {"command": sys.executable, "args": arguments, "cwd": str(ROOT)}
    config = GatewayConfig.from_text(json.dumps({"version": 1, "upstreams": {"shop": upstream}}))
    lock = LockFile(setting.folder / "gateway.lock.json")
    made = Gateway(setting.guard, config, lock, principal_of=lambda _: ANA)
    gateway = await setting.stack.enter_async_context(made)
    accept(lock, setting.guard.ledger, [offer.definition for offer in (await gateway.offers()).all], by=ANA)
    alone = stdio_client(StdioServerParameters(command=sys.executable, args=arguments, cwd=str(ROOT)))
    clients = [await setting.stack.enter_async_context(Client(server)) for server in (alone, gateway.server)]
    return Pair(*(partial(client.call_tool, "query", ARGUMENTS) for client in clients))


def serve(database: str) -> None:
    """Another MCP server, for the gateway: it runs whatever it is told to."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("upstream")
    server.add_tool(_query_of(Path(database)), name="query")
    server.run()


CASES: dict[str, tuple[str | None, Callable[[Setting], Pair | Awaitable[Pair]]]] = {
    "statement alone": (None, alone),
    "@guard.tool": (None, function),
    "langchain": ("langchain_core", langchain),
    "langgraph (a ToolNode)": ("langgraph", langgraph),
    "openai": (None, openai),
    "anthropic": (None, anthropic),
    "openai-agents": ("agents", openai_agents),
    "pydantic-ai (a run with one call)": ("pydantic_ai", pydantic_ai),
    "llama-index": ("llama_index", llama_index),
    "crewai": ("crewai", crewai),
    "mcp (client and server in memory)": ("mcp", mcp_server),
    "mcp-gateway (upstream over stdio)": ("mcp", mcp_gateway),
    "sqlalchemy": (None, sqlalchemy),
}
"""What is measured, by name, with the package that it needs."""


def _sync(function: Callable[..., object], *args: Any, **kwargs: Any) -> Call:
    async def call() -> object:
        return function(*args, **kwargs)

    return call


def _query_of(path: Path) -> Callable[..., str]:
    def query(sql: str) -> str:
        """Runs a statement."""
        with closing(sqlite3.connect(path)) as connection:
            return json.dumps(connection.execute(sql).fetchall())

    return query


@contextmanager
def opened(folder: Path) -> Iterator[Guard]:
    path = folder / "shop.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT NOT NULL, email TEXT NOT NULL)")
        made.executemany("INSERT INTO orders VALUES (?, 'open', ?)", ((i, f"p{i}@example.com") for i in range(ROWS)))
        made.commit()
    ledger = f"sqlite:///{folder / 'audit.db'}"
    with (
        Guard.open(Policy.from_text(POLICY), database=f"sqlite:///{path}", ledger=ledger) as guard,
        guard.session(principal=ANA, agent="bot"),
    ):
        yield guard


async def measured(case: Callable[[Setting], Pair | Awaitable[Pair]], guard: Guard, folder: Path, calls: int) -> Medians:
    """Returns the medians of both in milliseconds, called in turn."""
    bare, guarded = list[float](), list[float]()
    async with AsyncExitStack() as stack:
        made = case(Setting(guard, _query_of(folder / "shop.db"), folder, stack))
        pair = await made if isinstance(made, Awaitable) else made
        for number in range(calls + calls // 10 + 1):
            for call, times in ((pair.bare, bare), (pair.guarded, guarded)):
                started = time.perf_counter()
                await call()
                if number > calls // 10:  # the first ones warm caches up
                    times.append((time.perf_counter() - started) * 1000)
    return statistics.median(bare), statistics.median(guarded)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--only", default="", help="names of cases, as they begin, with commas between them")
    parser.add_argument("--serve", metavar="DATABASE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    wanted = tuple(name for name in options.only.split(",") if name)
    print(f"{'a call':34} {'bare ms':>9} {'guarded ms':>11} {'ratio':>7} {'adds ms':>8}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        guard = stack.enter_context(opened(folder))
        for name, (package, case) in CASES.items():
            if (wanted and not name.startswith(wanted)) or (package and importlib.util.find_spec(package) is None):
                continue
            bare, guarded = asyncio.run(measured(case, guard, folder, options.calls))
            print(f"{name:34} {bare:9.3f} {guarded:11.3f} {guarded / bare:7.1f} {guarded - bare:8.2f}", flush=True)


if __name__ == "__main__":
    main()
