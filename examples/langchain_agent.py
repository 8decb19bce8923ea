"""A LangChain agent whose every tool is guarded by one middleware: a tool of your own that runs SQL, and one that does not.

The model is a scripted one on this machine; with your own, leave `base_url` and `only_loopback` out.
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

from guardrails import Guard, Policy, Principal
from guardrails.integrations.langchain_middleware import GuardMiddleware
from guardrails.testing import ModelServer, ToolCall, Turn, follow, only_loopback

SHOP = """CREATE TABLE orders (id INTEGER PRIMARY KEY, email TEXT, status TEXT);
INSERT INTO orders VALUES (1, 'ada@example.com', 'open'), (2, 'ada@example.com', 'paid'), (3, 'bo@example.com', 'open');"""
POLICY = """
version: 1
rules: [{id: read-orders, effect: allow, actions: [select], relations: [orders], principals: {groups: [support]}}]
columns: {orders.email: {mask: fixed, value: hidden}}
"""
SCRIPT = [
    Turn("Perhaps there are invoices.", (ToolCall("call_1", "query", {"sql": "SELECT * FROM invoices"}),)),
    Turn("Then the orders.", (ToolCall("call_2", "query", {"sql": "SELECT id, email FROM orders WHERE status = 'open'"}),)),
    Turn("I write to them.", (ToolCall("call_3", "send_email", {"to": "everybody", "body": "Your order is on its way."}),)),
    Turn("2 orders are open, and I may not write to anybody."),
]


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        shop.executescript(SHOP)

    def query(sql: str) -> list[tuple[object, ...]]:
        """Runs one SQL statement on the shop."""
        with closing(sqlite3.connect(folder / "shop.db")) as shop:
            return shop.execute(sql).fetchall()

    def send_email(to: str, body: str) -> str:
        """Sends an e-mail."""
        return f"sent to {to}: {body}"

    urls = {"database": f"sqlite:///{folder / 'shop.db'}", "ledger": f"sqlite:///{folder / 'audit.db'}"}
    with only_loopback(), ModelServer(follow(SCRIPT)) as server, Guard.open(Policy.from_text(POLICY), **urls) as guard:
        model = ChatOpenAI(model="scripted", base_url=f"{server.url}/v1", api_key="demo")
        agent = create_agent(model, [query, send_email], middleware=[GuardMiddleware(guard)], name="support-bot")
        ana = {"principal": Principal("ana@example.com", groups={"support"})}
        state = agent.invoke({"messages": [("user", "How many orders are open?")]}, context=ana)
        for message in state["messages"]:
            print(f"{message.type}: {message.content}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
