"""A database's MCP server of somebody else's: it runs whatever it is given, and notes it in a file."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from mcp.server.mcpserver import MCPServer

database, notes = sys.argv[1:]
server = MCPServer("database")


@server.tool()
def run_query(query: str) -> list[list[str]]:
    """Runs a statement."""
    with Path(notes).open("a") as file:
        file.write(query + "\n")
    with closing(sqlite3.connect(database)) as connection, connection:
        return [list(map(str, row)) for row in connection.execute(query)]


@server.tool()
def shut_down() -> str:
    """Shuts the database down."""
    return "down"


if __name__ == "__main__":
    server.run("stdio")
