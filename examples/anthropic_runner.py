"""Anthropic's tool runner with a guarded tool of your own, which stops where a person has to approve.

The model is a scripted one on this machine; with your own, leave `base_url`, `ModelServer` and `only_loopback` out.

Run it: python examples/anthropic_runner.py
"""

import sqlite3
import tempfile
from typing import Any

from anthropic import Anthropic, beta_tool

from guardrails import Guard, Policy, Principal
from guardrails.integrations.anthropic_runner import runner_tools
from guardrails.testing import ModelServer, ToolCall, Turn, follow, only_loopback

SHOP = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, email TEXT, status TEXT);
INSERT INTO orders VALUES (1, 'ada@example.com', 'open'), (2, 'bo@example.com', 'paid'), (3, 'bo@example.com', 'open');
"""
POLICY = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [orders], principals: {groups: [support]}}
  - {id: delete, effect: approve, actions: [delete], relations: [orders], approval: {groups: [leads], reason_required: false}}
columns:
  orders.email: {mask: full}
"""
ANA, LEA = Principal("ana@example.com", groups={"support"}), Principal("lea@example.com", groups={"leads"})
STATEMENTS = "DROP TABLE orders", "SELECT * FROM orders WHERE id = 1", "DELETE FROM orders WHERE id = 2"
CALLS = [ToolCall(f"call_{n}", "query_database", {"sql": sql}) for n, sql in enumerate(STATEMENTS)]
SCRIPT = follow([*(Turn("Let me see.", (call,)) for call in CALLS), lambda told: Turn(f"Done: {told.last}")])


@beta_tool
def query_database(sql: str) -> str:
    """Runs one SQL statement on the shop's database."""


def ask(guard: Guard, url: str, question: str) -> str:
    client, tools = Anthropic(base_url=url, api_key="demo"), runner_tools(guard, [query_database])
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        runner = client.beta.messages.tool_runner(model="m", max_tokens=99, messages=messages, tools=tools)
        run = tools.watch(runner, principal=ANA)
        last = run.until_done()
        for request in run.waiting.values():  # your application waits here until a person has answered
            guard.approve(request, by=LEA)
        if not run.waiting or not run.retry():
            return "".join(block.text for block in last.content if block.type == "text")
        messages = run.history(messages)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, only_loopback(), ModelServer(SCRIPT) as server:
        sqlite3.connect(f"{name}/shop.db").executescript(SHOP)
        url = f"sqlite:///{name}"
        with Guard.open(Policy.from_text(POLICY), database=f"{url}/shop.db", ledger=f"{url}/audit.db") as guard:
            print(ask(guard, server.url, "Tidy up the orders."))
