"""A crew whose tools go through the guard; kicked off again when a person has answered.

CrewAI needs an environment of its own, with guardrails-sql[crewai]. The model is a scripted one.
Run it: python examples/crewai_crew.py
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from crewai import LLM, Agent, Crew, Task

from guardrails import Guard, Policy, Principal
from guardrails.integrations.crewai import sql_tool
from guardrails.testing import Conversation, ModelServer, ToolCall, Turn, only_loopback

SHOP = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT); INSERT INTO orders VALUES (1, 'open'), (2, 'paid')"
POLICY = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [orders]}
  - {id: delete, effect: approve, actions: [delete], relations: [orders], approval: {groups: [leads], reason_required: false}}
"""
STATEMENTS = ["DROP TABLE orders", "SELECT COUNT(*) AS n FROM orders", "DELETE FROM orders WHERE id = 1"]


def script(told: Conversation) -> Turn:
    if len(told.results) == len(STATEMENTS):
        return Turn("\n".join(told.results))
    return Turn("", (ToolCall(f"c{len(told.results)}", "query_database", {"sql": STATEMENTS[len(told.results)]}),))


def kick_off(guard: Guard, url: str) -> str:
    llm = LLM(model="openai/gpt-4o", base_url=f"{url}/v1", api_key="demo")
    analyst = Agent(role="analyst", goal="Answer.", backstory="Careful.", llm=llm, tools=[sql_tool(guard)])
    task = Task(description="Delete order 1, please.", expected_output="An answer.", agent=analyst)
    return str(Crew(agents=[analyst], tasks=[task]).kickoff())


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    urls = {"database": f"sqlite:///{folder / 'shop.db'}", "ledger": f"sqlite:///{folder / 'audit.db'}"}
    ana, lea = Principal("ana@example.com"), Principal("lea@example.com", groups={"leads"})
    with (
        only_loopback(),
        ModelServer(script) as server,
        Guard.open(Policy.from_text(POLICY), **urls) as guard,
        guard.session(principal=ana, agent="analyst"),
    ):
        print(kick_off(guard, server.url))
        guard.approve(guard.pending()[0].id, by=lea)
        print(kick_off(guard, server.url))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
