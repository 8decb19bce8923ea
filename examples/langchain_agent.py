"""A LangChain agent with a guarded SQL tool and a guarded tool of your own.

The model is a scripted one on this machine; with your own, leave `base_url` and `only_loopback` out.

Run it: python examples/langchain_agent.py
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from guardrails import Guard, Policy, Principal
from guardrails.demo.agents import only_loopback
from guardrails.demo.script import Answer, Attempt, Question, next_turn
from guardrails.integrations.langchain import guard_tools, sql_tool
from guardrails.testing import ModelServer

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, status TEXT);
INSERT INTO customers VALUES (1, 'Ada', 'ada@example.com'), (2, 'Bo', 'bo@example.com');
INSERT INTO orders VALUES (1, 1, 'open'), (2, 1, 'paid'), (3, 2, 'open');
"""
POLICY = """
version: 1
rules:
  - {id: read-shop, effect: allow, actions: [select], relations: [customers, orders], principals: {groups: [support]}}
columns:
  customers.email: {mask: pseudonym}
"""
QUESTION = Question(
    "How many orders are open?",
    attempts=(
        Attempt("SELECT * FROM invoices", "Perhaps there are invoices."),
        Attempt("SELECT COUNT(*) AS n FROM orders WHERE status = 'open'", "Then the orders.", after="refused"),
    ),
    answers=(Answer("{rows[0][n]} orders are open.", after="answered"), Answer("I cannot tell.")),
)


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    database_url, ledger_url = f"sqlite:///{folder / 'shop.db'}", f"sqlite:///{folder / 'audit.db'}"
    ana = Principal("ana@example.com", groups={"support"})
    with (
        only_loopback(),
        ModelServer(lambda conversation: next_turn([QUESTION], conversation)) as server,
        Guard.open(Policy.from_text(POLICY), database=database_url, ledger=ledger_url) as guard,
        guard.session(principal=ana, agent="support-bot", model="scripted"),
    ):
        print(ask(guard, server.url, QUESTION.text))


@tool
def send_email(to: str, body: str) -> str:
    """Sends an e-mail."""
    return f"sent to {to}: {body}"


def ask(guard: Guard, url: str, question: str) -> str:
    model = ChatOpenAI(model="scripted", base_url=f"{url}/v1", api_key="demo")
    agent: Any = create_agent(model, [sql_tool(guard), *guard_tools(guard, [send_email])])
    state = agent.invoke({"messages": [{"role": "user", "content": question}]})
    for message in state["messages"][1:-1]:
        print(f"{message.type}: {message.content}")
    return state["messages"][-1].content


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
