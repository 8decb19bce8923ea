"""The ready-made tool on every engine: it says which SQL it takes, answers with masked rows, and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from guardrails import Guard, Policy
from guardrails.integrations.anthropic import SqlTool
from tests.support.mysql import fill_shop
from tests.support.schema import make_postgres_shop, make_sqlite_shop
from tests.support.story import DROP, POLICY, READ, signed

ODD = {
    "sqlite": "SELECT 9e999 AS n",
    "duckdb": "SELECT CAST('Infinity' AS DOUBLE) AS n",
    "postgres": "SELECT CAST('Infinity' AS DOUBLE PRECISION) AS n",
    "mysql": "SELECT 15e-1 AS n",
}
"""A number that JSON has not, where the engine has it."""
ENGINES = {"sqlite": "SQLite", "duckdb": "DuckDB", "postgres": "PostgreSQL", "mysql": "MySQL"}


def make_shop(engine: str, folder: Path, request: pytest.FixtureRequest) -> str:
    if engine == "sqlite":
        return f"sqlite:///{make_sqlite_shop(folder / 'shop.db')}"
    if engine == "duckdb":
        with duckdb.connect(str(folder / "shop.duckdb")) as made:
            made.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, ssn TEXT)")
            made.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
            made.execute("INSERT INTO customers VALUES (1, 'Ada', 'ada@example.com', '078-05-1120')")
        return f"duckdb:///{folder / 'shop.duckdb'}"
    make: Callable[[], str] = request.getfixturevalue("new_postgres" if engine == "postgres" else "new_mariadb_now")
    url = make()
    if engine == "postgres":
        return make_postgres_shop(url)
    fill_shop(url)
    return url


@pytest.mark.parametrize("engine", ENGINES)
def test_the_tool_on_every_engine(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    database = make_shop(engine, tmp_path, request)
    ana = signed("ana@example.com", "support")
    with Guard.open(Policy.from_text(POLICY), database=database, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard:
        tool = SqlTool(guard)
        assert f"one {ENGINES[engine]} statement" in tool.definition()["description"]
        calls = [
            {"type": "tool_use", "id": f"c{n}", "name": "query_database", "input": {"sql": sql}}
            for n, sql in enumerate((READ, DROP, ODD[engine]))
        ]
        message = {"role": "assistant", "content": calls, "stop_reason": "tool_use"}
        results = tool.run(message, principal=ana)
    assert results is not None
    rows, refusal, odd = (block["content"] for block in results["content"])
    assert json.loads(rows)["rows"][0] == {"name": "Ada", "email": "hidden", "ssn": "***"}
    assert refusal.startswith("Refused (")
    assert json.loads(odd)["rows"] == [{"n": 1.5 if engine == "mysql" else "inf"}]
