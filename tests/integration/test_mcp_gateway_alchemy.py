"""A database server from the package index on PostgreSQL, `mcp-alchemy`: alone, and behind the gateway."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from guardrails import Guard, Policy
from tests.conftest import missing
from tests.support.environments import environment
from tests.support.never_runs import FORBIDDEN
from tests.support.schema import make_postgres_shop
from tests.support.story import DELETE, POLICY, READ, SECRETS, signed
from tests.support.strangers import THIRD_PARTY, gateway_of, text

pytestmark = pytest.mark.apart

ANA, LEA = signed("ana@example.com", "support"), signed("lea@example.com", "leads")
ROWS = 'rows:\n  customers: "region = principal.region"\n'


@pytest.fixture(scope="session")
def program() -> str:
    try:
        return str(environment(*THIRD_PARTY) / "mcp-alchemy")
    except RuntimeError as error:
        missing(str(error))
        raise


@pytest.fixture
def shop(new_postgres: Callable[[], str]) -> str:
    return make_postgres_shop(new_postgres())


@pytest.fixture
def guard(shop: str, tmp_path: Path) -> Iterator[Guard]:
    with Guard.open(Policy.from_text(POLICY + ROWS), database=shop, ledger=f"sqlite:///{tmp_path}/audit.db") as opened:
        yield opened


def orders_left(shop: str) -> int:
    with psycopg.connect(shop) as connection:
        return int(str(connection.execute("SELECT count(*) FROM orders").fetchone()[0]))  # type: ignore[index]


async def test_alone_and_behind_the_gateway(guard: Guard, shop: str, program: str, tmp_path: Path) -> None:
    url = shop.replace("postgresql://", "postgresql+psycopg://")
    alone = StdioServerParameters(command=program, env=dict(os.environ) | {"DB_URL": url})
    async with Client(alone, mode="legacy") as client:
        shown = text(await client.call_tool("execute_query", {"query": READ}))
        assert all(secret in shown for secret in SECRETS)
        assert "1 rows affected" in text(await client.call_tool("execute_query", {"query": "DELETE FROM orders WHERE id = 1"}))
    assert orders_left(shop) == 3

    ana = type(ANA)(ANA.id, ANA.groups, {"region": "north"}, verified=ANA.verified, issuer=ANA.issuer)
    upstream = {"command": program, "env": {"DB_URL": "${SHOP_URL}"}, "protocol": "legacy"}
    options = {"principal_of": lambda _: ana, "environment": {"SHOP_URL": url}}
    async with gateway_of(guard, tmp_path, {"shop": upstream}, **options) as gateway, Client(gateway.server) as client:
        shown = text(await client.call_tool("execute_query", {"query": READ}))
        assert shown.splitlines()[-1] == "Result: 2 rows"
        assert "name: Ada\nemail: hidden\nssn: ***" in shown
        assert not any(secret in shown for secret in SECRETS)
        for name, query in FORBIDDEN.items():
            assert (await client.call_tool("execute_query", {"query": query})).is_error, name
        # What stands in a text is a parameter to this server, which the agent's own would fill after the guard has judged.
        named = {"query": "SELECT ':x' AS n", "params": {"x": "1"}}
        assert text(await client.call_tool("execute_query", named)).startswith("Refused (mcp.argument_refused)")
        assert orders_left(shop) == 3
        await client.call_tool("execute_query", {"query": DELETE})
        guard.approve(guard.pending()[0].id, by=LEA, reason="It was cancelled.")
        assert text(await client.call_tool("execute_query", {"query": DELETE})) == "Success: 1 rows affected"
        assert (await client.call_tool("execute_query", {"query": DELETE})).is_error
    assert orders_left(shop) == 2
