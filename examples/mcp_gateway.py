"""Somebody else's MCP server over a database, and the gateway in front of it: its tool is accepted first, then guarded.

Run it: python examples/mcp_gateway.py
"""

import asyncio
import sqlite3
import sys
import tempfile
from pathlib import Path

from mcp.client.client import Client
from mcp.server.mcpserver import MCPServer

from guardrails import Guard, Policy, Principal
from guardrails.mcp_gateway import Gateway, GatewayConfig, LockFile, accept

SHOP = "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT); INSERT INTO customers VALUES (1, 'Ada', 'a@b.org');"
POLICY = """
version: 1
rules: [{id: read-shop, effect: allow, actions: [select], relations: [customers]}]
columns: {customers.email: {mask: fixed, value: hidden}}
"""
CONFIG = "{{version: 1, upstreams: {{shop: {{command: '{program}', args: ['{script}', '{database}']}}}}}}"


def serve(database: str) -> None:
    """The other server: it runs whatever it is told to."""
    server = MCPServer("careless")

    @server.tool()
    def run_query(sql: str) -> str:
        with sqlite3.connect(database) as connection:
            return str(connection.execute(sql).fetchall())

    server.run()


async def main(folder: Path) -> None:
    database = folder / "shop.db"
    sqlite3.connect(database).executescript(SHOP).connection.close()
    config = GatewayConfig.from_text(CONFIG.format(program=sys.executable, script=__file__, database=database))
    with Guard.open(Policy.from_text(POLICY), database=f"sqlite:///{database}", ledger=f"sqlite:///{folder}/audit.db") as guard:
        lock, ana = LockFile(folder / "gateway.lock.json"), Principal("ana@example.com")
        async with Gateway(guard, config, lock, principal_of=lambda _: ana) as gateway, Client(gateway.server) as client:
            print("Offered before:", [tool.name for tool in (await client.list_tools()).tools])
            waiting = [offer.definition for offer in (await gateway.offers()).all]
            accept(lock, guard.ledger, waiting, by=Principal("admin@example.com"))
            print("Offered after:", [tool.name for tool in (await client.list_tools()).tools])
            for sql in ("DROP TABLE customers", "SELECT name, email FROM customers"):
                print((await client.call_tool("run_query", {"sql": sql})).content[0].text)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(main(Path(name)))
