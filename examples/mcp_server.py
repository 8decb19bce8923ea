"""A client of the Model Context Protocol starts `guardrails mcp` and works with the database behind it; somebody else approves a change.

Run it: python examples/mcp_server.py
"""

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from guardrails import Principal
from guardrails.approval import ApprovalDesk, ApprovalStore
from guardrails.ledger import Ledger

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT);
INSERT INTO customers VALUES (1, 'Ada', 'ada@example.com'), (2, 'Bo', 'bo@example.com');
CREATE TABLE orders AS SELECT id, id AS customer_id, 'open' AS status FROM customers;
"""
POLICY = """
version: 1
rules:
  - {id: read-shop, effect: allow, actions: [select], relations: [customers, orders], principals: {groups: [support]}}
  - {id: change-orders, effect: approve, actions: [update], relations: [orders], approval: {groups: [leads]}}
columns:
  customers.email: {mask: fixed, value: hidden}
"""
STATEMENTS = ("DROP TABLE orders", "SELECT name, email FROM customers", *["UPDATE orders SET status = 'paid' WHERE id = 1"] * 2)


async def main(folder: Path) -> None:
    sqlite3.connect(folder / "shop.db").executescript(SHOP).connection.close()
    (folder / "policy.yaml").write_text(POLICY)
    where = f"--policy {folder}/policy.yaml --database sqlite:///{folder}/shop.db --ledger sqlite:///{folder}/audit.db"
    command = f"-m guardrails.cli.main mcp {where} --principal ana@example.com --group support --agent desk-bot".split()
    async with Client(stdio_client(StdioServerParameters(command=sys.executable, args=command, env={**os.environ}))) as client:
        for sql in STATEMENTS:
            result = await client.call_tool("query", {"sql": sql})
            print(result.content[0].text)
            if "approval.required" in result.content[0].text:
                approve(f"sqlite:///{folder}/audit.db")


def approve(ledger_url: str) -> None:
    """Somebody else says yes, where the ledger is; the console does this after signing in."""
    with Ledger.open(ledger_url) as ledger, ApprovalStore.of(ledger) as store:
        desk, lee = ApprovalDesk(store, ledger), Principal("lee@example.com", groups={"leads"})
        desk.approve(desk.pending(now=int(time.time()))[0].id, lee, "The payment has arrived.", int(time.time()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
