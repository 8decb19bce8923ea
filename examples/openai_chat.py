"""OpenAI's Chat Completions with a guarded SQL tool: a refusal, masked rows, and a change that a person approves.

The model is a scripted one on this machine; with your own, leave `base_url`, `ModelServer` and `only_loopback` out.

Run it: python examples/openai_chat.py
"""

import sqlite3
import tempfile
from typing import Any

from openai import OpenAI

from guardrails import Guard, Policy, Principal
from guardrails.integrations.openai import SqlTool
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


def ask(guard: Guard, url: str, question: str) -> str:
    client, tools = OpenAI(base_url=f"{url}/v1", api_key="demo"), SqlTool(guard)
    messages: list[Any] = [{"role": "user", "content": question}]
    while True:
        completion = client.chat.completions.create(model="m", messages=messages, tools=tools.chat_definitions())
        answers = tools.run(completion, principal=ANA)
        if answers.waiting:  # your application waits here until a person has answered, in the console for example
            for request in answers.waiting.values():
                guard.approve(request, by=LEA)
            answers = tools.run(completion, principal=ANA, earlier=answers)
        if not answers:
            return completion.choices[0].message.content or ""
        messages += [completion.choices[0].message, *answers]
        print(answers[0]["content"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, only_loopback(), ModelServer(SCRIPT) as server:
        sqlite3.connect(f"{name}/shop.db").executescript(SHOP)
        url = f"sqlite:///{name}"
        with Guard.open(Policy.from_text(POLICY), database=f"{url}/shop.db", ledger=f"{url}/audit.db") as guard:
            print(ask(guard, server.url, "Tidy up the orders."))
