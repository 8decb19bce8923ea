"""The OpenAI Agents SDK with a guarded SQL tool: a run that waits for a person, and goes on when she has answered.

The model is a scripted one on this machine; with your own, leave `client` and `only_loopback` out.

Run it: python examples/openai_agents.py
"""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from agents import Agent, OpenAIResponsesModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI

from guardrails import Guard, Policy, Principal
from guardrails.integrations.openai_agents import guard_agent, open_requests, proceed, sql_tool
from guardrails.testing import ModelServer, ToolCall, Turn, follow, only_loopback

SHOP = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT); INSERT INTO orders VALUES (1, 'open'), (2, 'paid');"
POLICY = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [orders], principals: {groups: [support]}}
  - {id: delete, effect: approve, actions: [delete], relations: [orders], approval: {groups: [leads]}}
"""
STATEMENTS = ("DROP TABLE orders", "SELECT status FROM orders ORDER BY id", "DELETE FROM orders WHERE id = 2")
CALLS = [Turn("", (ToolCall(f"call_{n}", "query_database", {"sql": sql}),)) for n, sql in enumerate(STATEMENTS)]
SCRIPT = [*CALLS, lambda told: Turn(f"Deleted: {told.last}")]


async def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    urls = {"database": f"sqlite:///{folder / 'shop.db'}", "ledger": f"sqlite:///{folder / 'audit.db'}"}
    ana, lea = Principal("ana@example.com", groups={"support"}), Principal("lea@example.com", groups={"leads"})
    set_tracing_disabled(True)
    with only_loopback(), ModelServer(follow(SCRIPT)) as server, Guard.open(Policy.from_text(POLICY), **urls) as guard:
        client = AsyncOpenAI(base_url=f"{server.url}/v1", api_key="demo")
        model = OpenAIResponsesModel("scripted", client)
        agent = guard_agent(guard, Agent("cleaner", model=model, tools=[sql_tool(guard)]))
        result = await Runner.run(agent, "Drop the orders, or delete order 2.", context={"principal": ana})
        print(*(item.output for item in result.new_items if item.type == "tool_call_output_item"), sep="\n")
        for request in open_requests(result).values():
            print(f"{request.agent} waits: {request.summary}")
            guard.approve(request.id, by=lea, reason="Paid twice.")
        state = result.to_state()
        if proceed(state):
            print((await Runner.run(agent, state)).final_output)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
