"""A LangGraph agent that pauses until a person has approved, and goes on from its checkpoint as another process would.

The model is a scripted one on this machine; with your own, leave `base_url` and `only_loopback` out.
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver

from guardrails import Guard, Policy, Principal
from guardrails.integrations.langchain import sql_tool
from guardrails.integrations.langgraph import InterruptChannel, resume
from guardrails.testing import ModelServer, ToolCall, Turn, follow, only_loopback

POLICY = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [orders]}
  - {id: cancel, effect: approve, actions: [delete], relations: [orders], approval: {groups: [leads], reason_required: true}}
"""
DELETE = ToolCall("call_1", "query_database", {"sql": "DELETE FROM orders WHERE id = 2"})
SCRIPT = [Turn("That order goes.", (DELETE,)), lambda told: Turn(f"Done: {told.last}")]
ANA = Principal("ana@example.com", groups={"support"})
LEA = Principal("lea@example.com", groups={"leads"})  # with your users, from a verified token: see jwt_principal.py


def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as shop:
        shop.executescript("CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1), (2);")
    with only_loopback(), ModelServer(follow(SCRIPT)) as server:
        paused = turn(folder, server.url, {"messages": [("user", "Cancel order 2.")]})
        print("It waits for", paused["__interrupt__"][0].value["approvers"])
        early = turn(folder, server.url, resume(paused["__interrupt__"]))  # nobody has answered: it waits on
        with open_guard(folder) as console:
            console.approve(console.pending()[0].id, by=LEA, reason="The customer asked for it.")
        done = turn(folder, server.url, resume(early["__interrupt__"]))
        print(done["messages"][-1].content)


def open_guard(folder: Path) -> Guard:
    database, ledger = f"sqlite:///{folder / 'shop.db'}", f"sqlite:///{folder / 'audit.db'}"
    return Guard.open(Policy.from_text(POLICY), database=database, ledger=ledger, approvals=InterruptChannel())


def turn(folder: Path, url: str, given: object) -> dict:
    with open_guard(folder) as guard, SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as checkpoints:
        model = ChatOpenAI(model="scripted", base_url=f"{url}/v1", api_key="demo")
        agent = create_agent(model, [sql_tool(guard)], checkpointer=checkpoints)
        return agent.invoke(given, {"configurable": {"thread_id": "42"}}, context={"principal": ANA})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
