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

from guardrails.approval.channels import new_webhook_secret
from guardrails.identity.agents import AgentKey
from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify
from tests.support.command_line import call
from tests.support.identity_provider import IdentityProvider
from tests.support.mcp_servers import connected
from tests.support.paused_shop import loopback
from tests.support.schema import make_sqlite_shop
from tests.support.story import DELETE, DROP, POLICY, READ, SECRETS
from tests.support.webhook_receiver import receiving

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
async def started(options: Sequence[str], **environment: str) -> AsyncIterator[Client]:
    """Starts the command as a desktop client does, and connects to it."""
    arguments = ["-m", "guardrails.cli.main", "mcp", *options]
    parameters = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ) | environment)
    async with Client(stdio_client(parameters)) as client:
        yield client


def text(result: Any) -> str:
    return "\n".join(str(part.text) for part in result.content)


def entries(folder: Path, *types: str) -> list[dict[str, Any]]:
    with Ledger.open(f"sqlite:///{folder / 'audit.db'}", read_only=True) as ledger:
        return [entry for entry in ledger.entries() if entry["type"] in (types or ("intent", "refusal"))]


async def test_a_client_starts_it(places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = AgentKey.create(tmp_path / "agent.key", "clerk")
    (tmp_path / "agents.yaml").write_text(f"agents:\n  clerk: {{keys: ['{key.public_text}']}}\n")
    agent = ("--agents", str(tmp_path / "agents.yaml"), "--agent-key", str(tmp_path / "agent.key"))
    monkeypatch.setenv("GUARDRAILS_WEBHOOK_SECRET", new_webhook_secret())
    with receiving() as receiver:
        tell = ("--tell", f"webhook+{receiver.url}")
        async with started([*places, *ANA, *agent, *tell]) as client:
            await _work(client)
        (told,) = receiver.wait(1)
    assert json.loads(told.body)["type"] == "approval.requested"
    assert b"orders WHERE" not in told.body
    recorded = entries(tmp_path)
    assert {e["agent"]["name"] for e in recorded} == {"clerk"}
    assert {e["agent"]["key"] for e in recorded} == {key.fingerprint}
    assert {e["principal"]["verified"] for e in recorded} == {"unverified"}
    # The process is the conversation, whichever revision the client speaks.
    assert len({e["conversation"] for e in recorded}) == 1
    assert recorded[0]["conversation"]
    assert verify(f"sqlite:///{tmp_path / 'audit.db'}").is_verified
    assert call("agents", "verify", "--ledger", str(tmp_path / "audit.db")).status == 0


async def _work(client: Client) -> None:
    """What a model does: refused, masked, waiting for a person, and several at once."""
    refused = await client.call_tool("query", {"sql": DROP})
    read = await client.call_tool("query", {"sql": READ})
    waits = await client.call_tool("query", {"sql": DELETE})
    several = await asyncio.gather(*(client.call_tool("query", {"sql": f"SELECT {n} AS n"}) for n in range(12)))
    assert text(refused).startswith("Refused (policy.no_rule)")
    assert not read.is_error
    assert not any(secret in text(read) for secret in SECRETS)
    assert text(waits).startswith("Refused (approval.required)")
    assert [r.structured_content["rows"] for r in several] == [[[n]] for n in range(12)]


async def test_the_person_is_in_the_token_of_each_request(
    places: list[str], tmp_path: Path, identity_provider: IdentityProvider
) -> None:
    """With an issuer that is asked for its keys, and stopped as a service is."""
    token = identity_provider.id_token("ana@example.com", "http://127.0.0.1/callback")
    whose = ["--issuer", identity_provider.issuer, "--audience", identity_provider.client_id]
    with listening([*places, *whose, "--purpose", "care"]) as (process, announced):
        async with connected(announced["url"], token) as client:
            assert not (await client.call_tool("query", {"sql": READ})).is_error
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    (recorded,) = entries(tmp_path)
    assert (recorded["principal"]["id"], recorded["principal"]["verified"]) == ("ana@example.com", "jwt")
    assert recorded["purpose"] == "care"


def test_the_token_is_looked_at_before_anything_is_served(
    places: list[str], tmp_path: Path, identity_provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = identity_provider.id_token("ana@example.com", "http://127.0.0.1/callback")
    (tmp_path / "token").write_text(token)
    monkeypatch.setenv("DESK_TOKEN", token)
    monkeypatch.setenv("BAD_TOKEN", token[:-9] + "AAAAAAAAA")
    issuer = ["--issuer", identity_provider.issuer, "--token-file", str(tmp_path / "token")]
    # The client has gone already: standard input is at its end.
    audience = ["--audience", identity_provider.client_id]
    for given in ([*issuer, *audience], [*issuer[:2], *audience, "--token-env", "DESK_TOKEN"]):
        accepted = call("mcp", *places, *given)
        assert (accepted.status, accepted.stdout) == (0, b"")
    for options, code in {
        (*issuer, "--audience", "another"): "identity.claims_invalid",
        (*issuer, "--audience", identity_provider.client_id, *ANA): "usage.input_invalid",
        tuple(issuer): "usage.input_invalid",
        (*issuer, "--audience", identity_provider.client_id, "--token-env", "DESK_TOKEN"): "usage.input_invalid",
        (*issuer[:2], *audience, "--token-env", "BAD_TOKEN"): "identity.token_invalid",
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
        (*ANA, "--tell", "terminal"): "people answer in the console",
        ("--unsafe-without-identity",): "only with --http",
        (*ANA, "--purpose", "x", "--agents", str(tmp_path / "none.yaml")): "file",
        ("--token-env", "NO_SUCH_VARIABLE"): "holds no token",
    }.items():
        done = call("mcp", *places, *options)
        assert done.status == 2, options
        assert said in done.stderr.decode(), (options, done.stderr)
        assert done.stdout == b""


SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) AS c FROM n"


def _call(number: int, sql: str) -> str:
    params = {"name": "query", "arguments": {"sql": sql}}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}) + "\n"


def test_only_the_protocol_is_written_and_a_signal_waits_for_what_runs(places: list[str], tmp_path: Path) -> None:
    """As the oldest clients speak, with lines that are no messages; in the end the client sends a signal and keeps its end open."""
    initialize = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "0"}},
    }
    opening = json.dumps(initialize) + "\nthis is no JSON\n" + '{"jsonrpc": "2.0", "method": "notifications/initialized"}\n'
    command = [sys.executable, "-m", "guardrails.cli.main", "mcp", *places, *ANA]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(opening + _call(2, READ))
        process.stdin.flush()
        answers: list[dict[str, Any]] = []
        while not any(answer.get("id") == 2 for answer in answers):
            answers.append(json.loads(process.stdout.readline()))
        process.stdin.write(_call(3, SLOW))
        process.stdin.flush()
        while _entries_of(tmp_path / "audit.db") < 4:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
        told = process.stderr.read()
    assert "Serving " in told
    assert "Traceback" not in told
    assert answers[0]["result"]["protocolVersion"] == "2024-11-05"
    assert not answers[-1]["result"].get("isError")
    assert [e["status"] for e in entries(tmp_path, "outcome")] == ["ok", "ok"]
    assert verify(f"sqlite:///{tmp_path / 'audit.db'}").is_verified


def _entries_of(ledger: Path) -> int:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
    return int(count)


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
