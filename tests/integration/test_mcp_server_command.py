"""`guardrails mcp` as clients start it: a process that speaks over its standard input and output, or listens on an address."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from guardrails.cli.main import COMMANDS
from guardrails.identity.agents import AgentKey
from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify
from tests.support.command_line import call
from tests.support.identity_provider import IdentityProvider
from tests.support.mcp_servers import VERSIONS, connected
from tests.support.paused_shop import loopback
from tests.support.schema import make_sqlite_shop
from tests.support.story import DROP, POLICY, READ, SECRETS

ANA = ("--principal", "ana@example.com", "--group", "support")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that say where everything is."""
    loopback(monkeypatch)
    make_sqlite_shop(tmp_path / "shop.db")
    (tmp_path / "policy.yaml").write_text(POLICY)
    return _places(tmp_path, f"sqlite:///{tmp_path / 'shop.db'}")


def _places(folder: Path, database: str) -> list[str]:
    return ["--policy", str(folder / "policy.yaml"), "--database", database, "--ledger", f"sqlite:///{folder / 'audit.db'}"]


@asynccontextmanager
async def started(options: Sequence[str], mode: str = "2026-07-28", **environment: str) -> AsyncIterator[Client]:
    """Starts the command as a desktop client does, and connects to it."""
    arguments = ["-m", "guardrails.cli.main", "mcp", *options]
    parameters = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ) | environment)
    async with Client(stdio_client(parameters), mode=mode) as client:
        yield client


def text(result: Any) -> str:
    return "\n".join(str(part.text) for part in result.content)


def entries(folder: Path, *types: str) -> list[dict[str, Any]]:
    with Ledger.open(f"sqlite:///{folder / 'audit.db'}", read_only=True) as ledger:
        return [entry for entry in ledger.entries() if entry["type"] in (types or ("intent", "refusal"))]


@pytest.mark.parametrize("mode", VERSIONS)
async def test_a_client_starts_it(places: list[str], tmp_path: Path, mode: str) -> None:
    key = AgentKey.create(tmp_path / "agent.key", "clerk")
    (tmp_path / "agents.yaml").write_text(f"agents:\n  clerk: {{keys: ['{key.public_text}']}}\n")
    agent = ("--agents", str(tmp_path / "agents.yaml"), "--agent-key", str(tmp_path / "agent.key"))
    async with started([*places, *ANA, *agent], mode) as client:
        refused = await client.call_tool("query", {"sql": DROP})
        read = await client.call_tool("query", {"sql": READ})
        several = await asyncio.gather(*(client.call_tool("query", {"sql": f"SELECT {n} AS n"}) for n in range(12)))
    assert refused.is_error
    assert not read.is_error
    assert not any(secret in text(read) for secret in SECRETS)
    assert [r.structured_content["rows"] for r in several] == [[[n]] for n in range(12)]
    recorded = entries(tmp_path)
    assert {e["agent"]["name"] for e in recorded} == {"clerk"}
    assert {e["agent"]["key"] for e in recorded} == {key.fingerprint}
    assert {e["principal"]["verified"] for e in recorded} == {"unverified"}
    # The process is the conversation, whichever revision the client speaks.
    assert len({e["conversation"] for e in recorded}) == 1
    assert recorded[0]["conversation"]
    assert verify(f"sqlite:///{tmp_path / 'audit.db'}").is_verified
    assert call("agents", "verify", "--ledger", str(tmp_path / "audit.db")).status == 0


async def test_the_person_is_in_a_token(places: list[str], tmp_path: Path, identity_provider: IdentityProvider) -> None:
    token = identity_provider.id_token("ana@example.com", "http://127.0.0.1/callback")
    whose = ["--issuer", identity_provider.issuer, "--audience", identity_provider.client_id, "--token-kind", "id"]
    async with started([*places, *whose, "--token-env", "DESK_TOKEN"], DESK_TOKEN=token) as client:
        assert not (await client.call_tool("query", {"sql": READ})).is_error
    recorded = entries(tmp_path)
    assert [(e["principal"]["id"], e["principal"]["verified"]) for e in recorded] == [("ana@example.com", "jwt")]
    # The same over HTTP, where the token comes with each request.
    url = "http://127.0.0.1"
    with listening([*places, *whose[:-2], "--purpose", "care"]) as (process, announced):
        assert announced["url"].startswith(url)
        async with connected(announced["url"], token) as client:
            assert not (await client.call_tool("query", {"sql": READ})).is_error
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert entries(tmp_path)[-1]["purpose"] == "care"


def test_the_token_is_looked_at_before_anything_is_served(
    places: list[str], tmp_path: Path, identity_provider: IdentityProvider
) -> None:
    (tmp_path / "token").write_text(identity_provider.id_token("ana@example.com", "http://127.0.0.1/callback"))
    issuer = ["--issuer", identity_provider.issuer, "--token-file", str(tmp_path / "token")]
    # The client has gone already: standard input is at its end.
    accepted = call("mcp", *places, *issuer, "--audience", identity_provider.client_id)
    assert (accepted.status, accepted.stdout) == (0, b"")
    for options, code in {
        (*issuer, "--audience", "another"): "identity.claims_invalid",
        (*issuer, "--audience", identity_provider.client_id, *ANA): "usage.input_invalid",
        tuple(issuer): "usage.input_invalid",
        (*issuer, "--audience", identity_provider.client_id, "--token-env", "HOME"): "usage.input_invalid",
    }.items():
        refused = call("mcp", *places, *options)
        assert (refused.status, refused.stdout) == (2, b"")
        assert code in refused.stderr.decode()


async def test_without_identity_on_this_machine_and_only_there(places: list[str], tmp_path: Path) -> None:
    with listening([*places, *ANA, "--unsafe-without-identity"]) as (_, announced):
        async with Client(announced["url"]) as client:
            assert not (await client.call_tool("query", {"sql": READ})).is_error
    assert entries(tmp_path)[0]["principal"]["verified"] == "unverified"
    for options, said in {
        ("--http", "127.0.0.1:0"): "needs --issuer",
        ("--http", "127.0.0.1:0", *ANA): "bearer tokens say who asks",
        ("--http", "0.0.0.0:0", "--unsafe-without-identity"): "this machine",
        ("--http", "0.0.0.0:0", "--resource-url", "http://127.0.0.1/mcp", "--unsafe-without-identity"): "this machine only",
        (
            "--http",
            "0.0.0.0:0",
            "--issuer",
            "https://id.example.com",
            "--jwks-url",
            "https://id.example.com/k",
        ): "--resource-url",
        (
            *("--http", "0.0.0.0:0", "--issuer", "https://id.example.com", "--jwks-url", "https://id.example.com/k"),
            *("--resource-url", "http://db.example.com/mcp"),
        ): "must not travel in clear",
        ("--http", "nowhere"): "HOST:PORT",
        ("--unsafe-without-identity",): "only with --http",
        (*ANA, "--purpose", "x", "--agents", str(tmp_path / "none.yaml")): "file",
        ("--token-env", "NO_SUCH_VARIABLE"): "holds no token",
    }.items():
        done = call("mcp", *places, *options)
        assert done.status == 2, options
        assert said in done.stderr.decode(), (options, done.stderr)
        assert done.stdout == b""


def test_nothing_but_the_protocol_is_written_to_standard_output(places: list[str], tmp_path: Path) -> None:
    initialize = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "0"}},
    }
    lines: list[Any] = [
        initialize,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        "this is no JSON",
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "query", "arguments": {"sql": READ}}},
    ]
    command = [sys.executable, "-m", "guardrails.cli.main", "mcp", *places, *ANA]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        process.stdin.flush()
        answers: list[dict[str, Any]] = []
        while not any(answer.get("id") == 2 for answer in answers):
            answers.append(json.loads(process.stdout.readline()))
        rest, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert rest == ""
    assert "Serving " in told
    assert "Traceback" not in told
    assert answers[0]["result"]["protocolVersion"] == "2024-11-05"
    assert "isError" not in answers[-1]["result"] or not answers[-1]["result"]["isError"]


SLOW = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) AS c FROM n
"""


def test_a_signal_waits_for_the_outcome_of_what_runs(places: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "guardrails.cli.main", "mcp", *places, *ANA]
    initialize = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "0"}},
    }
    asked = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "query", "arguments": {"sql": SLOW}}}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        process.stdin.write("".join(json.dumps(line) + "\n" for line in (initialize, initialized, asked)))
        process.stdin.flush()
        process.stdout.readline()
        while not _has_intent(tmp_path / "audit.db"):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        # Standard input is still open, as with a client that only sends the signal.
        assert process.wait(30) == 128 + signal.SIGTERM
    assert [e["status"] for e in entries(tmp_path, "outcome")] == ["ok"]
    assert verify(f"sqlite:///{tmp_path / 'audit.db'}").is_verified


def _has_intent(ledger: Path) -> bool:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
    return int(count) >= 2


@contextmanager
def listening(options: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Runs the command over HTTP; yields the process and what it announced."""
    command = [sys.executable, "-m", "guardrails.cli.main", "mcp", "--json", "--http", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def test_the_command_is_listed() -> None:
    assert "mcp" in COMMANDS
    assert b"Serve a guarded database" in call("mcp", "--help").stdout
