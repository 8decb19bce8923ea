"""A LlamaIndex agent whose tools go through the guard; its workflow waits for a person and goes on.

The model is a scripted one; put your own in its place, such as `llama_index.llms.openai.OpenAI`.
Run it: python examples/llama_index_agent.py
"""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.llms.mock import MockFunctionCallingLLM
from workflows.events import InputRequiredEvent

from guardrails import Guard, Policy, Principal
from guardrails.integrations.llama_index import InputRequiredChannel, resume, sql_tool

SHOP = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT); INSERT INTO orders VALUES (1, 'open'), (2, 'paid')"
POLICY = """
version: 1
rules:
  - {id: read, effect: allow, actions: [select], relations: [orders]}
  - {id: delete, effect: approve, actions: [delete], relations: [orders], approval: {groups: [leads], reason_required: false}}
"""
STATEMENTS = ["DROP TABLE orders", "SELECT COUNT(*) AS n FROM orders", "DELETE FROM orders WHERE id = 1"]


def script(messages: list[ChatMessage], **_: object) -> ChatMessage:
    told = [message.content for message in messages if message.role == "tool"]
    if len(told) == len(STATEMENTS):
        return ChatMessage(role="assistant", content="\n".join(map(str, told)))
    call = ToolCallBlock(tool_call_id=f"c{len(told)}", tool_name="query_database", tool_kwargs={"sql": STATEMENTS[len(told)]})
    return ChatMessage(role="assistant", blocks=[call])


async def main(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(SHOP)
    urls = {"database": f"sqlite:///{folder / 'shop.db'}", "ledger": f"sqlite:///{folder / 'audit.db'}"}
    with (
        Guard.open(Policy.from_text(POLICY), approvals=InputRequiredChannel(), **urls) as guard,
        guard.session(principal=Principal("ana@example.com")),
    ):
        llm = MockFunctionCallingLLM(response_generator=script)
        run = FunctionAgent(tools=[sql_tool(guard)], llm=llm).run("Delete order 1, please.")
        async for event in run.stream_events():
            if isinstance(event, InputRequiredEvent):
                print(f"waits: {event.does}")
                guard.approve(event.request, by=Principal("lea@example.com", groups={"leads"}))
                run.ctx.send_event(resume(event))
        print(await run)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
