"""A Pydantic AI agent whose tools all go through the guard; one of its statements waits for a person.

The model is a scripted one on this machine; with your own, leave `base_url` and `only_loopback` out.

Run it: python examples/pydantic_ai_agent.py
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from guardrails import Guard, Policy, Principal
from guardrails.integrations.pydantic_ai import DeferringChannel, GuardTools, resume, sql_tool
from guardrails.testing import ModelServer, ToolCall, Turn, follow, only_loopback

SHOP = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT); INSERT INTO orders VALUES (1, 'open'), (2, 'paid')"
POLICY = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [orders]}
  - {id: delete, effect: approve, actions: [delete], relations: [orders], approval: {groups: [leads], reason_required: false}}
"""
STATEMENTS = ["DROP TABLE orders", "SELECT COUNT(*) AS n FROM orders", "DELETE FROM orders WHERE id = 1"]
TURNS = [Turn("", (ToolCall(f"call_{n}", "query_database", {"sql": sql}),)) for n, sql in enumerate(STATEMENTS)]


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    urls = {"database": f"sqlite:///{folder / 'shop.db'}", "ledger": f"sqlite:///{folder / 'audit.db'}"}
    script = follow([*TURNS, lambda conversation: Turn(f"Deleted: {conversation.last}")])
    with (
        only_loopback(),
        ModelServer(script) as server,
        Guard.open(Policy.from_text(POLICY), approvals=DeferringChannel(), **urls) as guard,
    ):
        model = OpenAIChatModel("scripted", provider=OpenAIProvider(base_url=f"{server.url}/v1", api_key="demo"))
        agent = Agent(model, tools=[sql_tool(guard)], capabilities=[GuardTools(guard)], output_type=[str, DeferredToolRequests])
        who = {"principal": Principal("ana@example.com")}
        waiting = agent.run_sync("Delete order 1, please.", deps=who)
        for request in guard.pending():
            print(f"waits: {request.summary}")
            guard.approve(request.id, by=Principal("lea@example.com", groups={"leads"}))
        history, results = waiting.all_messages(), resume(waiting.output)
        done = agent.run_sync(message_history=history, deferred_tool_results=results, deps=who)
        print(
            *(part.content for message in done.all_messages() for part in message.parts if hasattr(part, "content")), sep="\n"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
