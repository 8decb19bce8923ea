"""Tokens and agents' keys on the command line, up to the entries and the proofs in the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guardrails.ledger import Ledger
from tests.support.command_line import Done, call
from tests.support.guarded_shop import POLICY
from tests.support.identity_provider import IdentityProvider
from tests.support.schema import make_sqlite_shop

BACK = "http://127.0.0.1:9/signed-in"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    make_sqlite_shop(folder / "shop.db")
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    return folder


@pytest.fixture(scope="module")
def token_file(folder: Path, identity_provider: IdentityProvider) -> Path:
    """An ID token of Ana's, as the provider gave it to an application of its own."""
    path = folder / "token"
    path.write_text(identity_provider.id_token("ana@example.com", BACK) + "\n", "utf-8")
    return path


def run(folder: Path, *arguments: str, stdin: bytes = b"") -> Done:
    places = ("--database", f"sqlite:///{folder}/shop.db", "--ledger", f"sqlite:///{folder}/audit.db")
    return call("run", "--policy", str(folder / "policy.yaml"), *places, *arguments, stdin=stdin)


def verified(identity_provider: IdentityProvider, token_file: Path) -> tuple[str, ...]:
    return (
        "--token-file", str(token_file), "--issuer", identity_provider.issuer, "--audience", identity_provider.client_id,
    )  # fmt: skip


def test_a_token_says_who_asks(folder: Path, identity_provider: IdentityProvider, token_file: Path) -> None:
    done = run(folder, *verified(identity_provider, token_file), "SELECT id FROM orders")
    assert done.status == 0, done.stderr
    token = token_file.read_bytes().strip()
    issuer = ("--issuer", identity_provider.issuer, "--audience", identity_provider.client_id, "--token-kind", "id")
    assert run(folder, "--token-file", "-", *issuer, "SELECT id FROM orders", stdin=token).status == 0
    with Ledger.open(folder / "audit.db", read_only=True) as ledger:
        principals = [entry["principal"] for entry in ledger.entries() if entry["type"] == "intent"]
    assert [(p["id"], p["issuer"], p["verified"]) for p in principals] == [
        ("ana@example.com", identity_provider.issuer, "jwt")
    ] * 2  # type: ignore[index]


def test_tokens_and_options_that_are_refused(folder: Path, identity_provider: IdentityProvider, token_file: Path) -> None:
    good = verified(identity_provider, token_file)
    forged = folder / "forged"
    forged.write_text(token_file.read_text("utf-8")[:-10] + "AAAAAAAAA", "utf-8")
    attempts: list[tuple[str, tuple[str, ...]]] = [
        ("identity.token_invalid", verified(identity_provider, forged)),
        ("identity.token_invalid", (*good, "--token-kind", "access")),
        ("identity.claims_invalid", (*good[:4], "--audience", "another")),
        ("identity.claims_invalid", (*good, "--client", "another")),
        ("identity.key_unknown", (*good[:2], "--issuer", "http://127.0.0.1:9", *good[4:])),
        ("usage.input_invalid", (*good, "--principal", "bo@example.com")),
        ("usage.input_invalid", (*good, "--group", "managers")),
        ("usage.input_invalid", (*good, "--trust-domain", "prod.example.com", "--bundle", "x")),
        ("usage.input_invalid", good[:4]),
        ("usage.input_invalid", good[2:]),
        ("usage.input_invalid", ("--token-file", "-", *good[2:], "--jsonl")),
        ("usage.input_invalid", (*good[:2], "--trust-domain", "prod.example.com", "--audience", "x")),
        ("usage.file_missing", ("--token-file", str(folder / "nowhere"), *good[2:])),
    ]
    before = (folder / "audit.db").stat().st_size if (folder / "audit.db").exists() else 0
    for code, options in attempts:
        done = run(folder, *options, "SELECT id FROM orders")
        assert (done.status, done.stdout) == (2, b""), options
        assert code in done.stderr.decode(), options
        assert token_file.read_text("utf-8").strip().split(".")[1] not in done.stderr.decode()
    assert before == ((folder / "audit.db").stat().st_size if (folder / "audit.db").exists() else 0)


def test_agents_make_keys_and_prove_themselves(folder: Path, identity_provider: IdentityProvider, token_file: Path) -> None:
    made = call("agents", "new", "refund-bot", str(folder / "bot.key"), "--json").lines()[0]
    assert made["agent"] == "refund-bot"
    assert call("agents", "show", str(folder / "bot.key"), "--json").lines() == [made]
    assert call("agents", "new", "refund-bot", str(folder / "bot.key")).status == 2
    agents = folder / "agents.yaml"
    agents.write_text(json.dumps({"agents": {"refund-bot": {"keys": [made["public"]]}}}), "utf-8")
    who = (*verified(identity_provider, token_file), "--agents", str(agents))
    ledger = f"sqlite:///{folder}/agents.db"
    places = ("run", "--policy", str(folder / "policy.yaml"), "--database", f"sqlite:///{folder}/shop.db", "--ledger", ledger)
    done = call(*places, *who, "--agent-key", str(folder / "bot.key"), "SELECT id FROM orders")
    assert done.status == 0, done.stderr
    done = call(*places, *who, "--agent", "refund-bot", "SELECT id FROM orders")
    assert done.status == 2
    assert b"identity.agent_unproven" in done.stderr
    assert call(*places, "--principal", "ana@example.com", "--agent", "shy-bot", "SELECT 1").status in (0, 1)
    checked = call("agents", "verify", "--ledger", ledger, "--json")
    assert (checked.status, checked.lines()) == (0, [{"proven": 1, "unproven": 1, "broken": 0}])
    strict = call("agents", "verify", "--ledger", ledger, "--agents", str(agents))
    assert strict.status == 1
    assert b"has not shown one of its keys" in strict.stderr
    assert b"1 proven, 0 without a key, 1 that do not hold" in strict.stdout
