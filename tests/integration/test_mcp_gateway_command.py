"""`guardrails mcp-gateway` as processes: a server behind it, definitions accepted on the command line, the official client before it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

import tests.support.raw_stranger
from guardrails.cli.main import cli
from guardrails.ledger import Ledger
from tests.support.schema import SQLITE_SHOP, make_sqlite_shop
from tests.support.story import DELETE, POLICY, READ
from tests.support.strangers import text

RULES = "rules:\n  - {id: tools, effect: allow, actions: [shop.send], principals: {groups: [support]}}\n"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_sqlite_shop(tmp_path / "shop.db")
    (tmp_path / "policy.yaml").write_text(POLICY.replace("rules:\n", RULES))
    write_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_config(folder: Path, **does: Any) -> None:
    script = str(tests.support.raw_stranger.__file__)
    shop = {"command": sys.executable, "args": ["-S", script, json.dumps(does)], "protocol": "legacy"}
    (folder / "gateway.yaml").write_text(json.dumps({"version": 1, "upstreams": {"shop": shop}}))


def run(*arguments: str, **options: Any) -> Any:
    where = ("--config", "gateway.yaml", "--ledger", "sqlite:///audit.db")
    return CliRunner().invoke(cli, ["mcp-gateway", *arguments, *where], **options)


def serving(folder: Path) -> StdioServerParameters:
    options = "--config gateway.yaml --policy policy.yaml --database sqlite:///shop.db --ledger sqlite:///audit.db"
    who = "--principal ana@example.com --group support --agent bot"
    command = ["-m", "guardrails.cli.main", "mcp-gateway", "serve", *options.split(), *who.split()]
    return StdioServerParameters(command=sys.executable, args=command, env={"PYTHONPATH": str(ROOT)}, cwd=folder)


def test_from_the_first_look_to_the_first_answer(folder: Path) -> None:
    looked = run("tools", "--json")
    assert looked.exit_code == 1
    assert [json.loads(line)["state"] for line in looked.stdout.splitlines()] == ["unknown"] * 3

    declined = run("accept", "--by", "admin@example.com", input="n\n")
    assert (declined.exit_code, declined.stdout) == (1, "")
    assert '+   "description": "Does it.",' in declined.stderr
    accepted = run("accept", "shop.query", "shop.send", "--by", "admin@example.com", input="y\n")
    assert (accepted.exit_code, accepted.stdout) == (0, "shop.query accepted\nshop.send accepted\n")
    assert [json.loads(line)["state"] for line in run("tools", "--json").stdout.splitlines()] == [
        "unknown",
        "accepted",
        "accepted",
    ]

    asyncio.run(used(folder))
    with Ledger.open("sqlite:///audit.db", read_only=True) as ledger:
        entries = list(ledger.entries())
    recorded = [(e["type"], e.get("tool")) for e in entries if e["type"] in ("intent", "refusal", "outcome")]
    assert recorded == [
        ("intent", "shop.query"), ("outcome", None), ("refusal", "shop.query"), ("intent", "shop.send"), ("outcome", None),
    ]  # fmt: skip
    assert {e["agent"]["name"] for e in entries if e["type"] == "intent"} == {"bot"}


async def used(folder: Path) -> None:
    async with Client(serving(folder)) as client:
        assert [listed.name for listed in (await client.list_tools()).tools] == ["query", "send"]
        assert text(await client.call_tool("query", {"sql": READ})) == "query done"
        assert text(await client.call_tool("query", {"sql": "DROP TABLE orders"})).startswith("Refused (policy.no_rule)")
        assert text(await client.call_tool("send", {"to": "bo"})) == "send done"


def test_a_name_that_nothing_has_and_a_mistake_in_the_file(folder: Path) -> None:
    with pytest.raises(Exception, match=r"shop\.none"):
        run("accept", "shop.none", "--by", "a", "--yes", catch_exceptions=False)
    with pytest.raises(Exception, match="Say who answers"):
        run("accept", "--yes", catch_exceptions=False)
    slip = json.loads((folder / "gateway.yaml").read_text())
    slip["upstreams"]["shop"]["tools"] = {"qury": {"sql": "sql"}}
    (folder / "gateway.yaml").write_text(json.dumps(slip))
    assert "the configuration names shop.qury" in run("tools").stderr
    (folder / "gateway.yaml").write_text("version: 1\nupstreams: {shop: {command: /no/such/program}}\n")
    with pytest.raises(Exception, match=r"mcp\.upstream_down"):
        run("tools", catch_exceptions=False)


async def reached_by_the_server_alone(folder: Path) -> None:
    given = serving(folder)
    named = given.args.index("--database")
    given.args[named : named + 2] = ["--schema", "shop.sql", "--dialect", "sqlite"]
    async with Client(given) as client:
        assert text(await client.call_tool("query", {"sql": READ})) == "query done"
        assert text(await client.call_tool("query", {"sql": "SELECT nothing FROM customers"})).startswith("Refused (sql.column")
        assert text(await client.call_tool("query", {"sql": DELETE})).startswith("Refused (approval.required)")


def test_a_database_may_be_known_by_its_schema_alone(folder: Path) -> None:
    write_config(folder, notes=str(folder / "notes"))
    assert run("accept", "--by", "admin@example.com", "--yes").exit_code == 0
    (folder / "shop.sql").write_text(SQLITE_SHOP.split("INSERT INTO customers")[0].split("CREATE TRIGGER")[0])
    (folder / "shop.db").unlink()
    asyncio.run(reached_by_the_server_alone(folder))
    ((noted),) = [json.loads(line) for line in (folder / "notes").read_text().splitlines()]
    assert "'hidden'" in noted["arguments"]["sql"]


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_signal_ends_it_with_everything_on_record(folder: Path) -> None:
    write_config(folder, silent="send", notes=str(folder / "notes"))
    assert run("accept", "--by", "admin@example.com", "--yes").exit_code == 0
    given = serving(folder)
    process = subprocess.Popen(
        [given.command, *given.args],
        cwd=folder,
        env=os.environ | (given.env or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    messages = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "send", "arguments": {}}},
    ]
    for message in messages:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["id"] == 1
    while not (folder / "notes").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (4,)
    with Ledger.open("sqlite:///audit.db", read_only=True) as ledger:
        outcomes = [(e["status"], e.get("error")) for e in ledger.entries() if e["type"] == "outcome"]
    assert outcomes == [("unknown", "engine.unknown_outcome")]
