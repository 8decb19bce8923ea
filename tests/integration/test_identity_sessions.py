"""Sessions on a real guard: delegation on every entry, agents that prove themselves, and tokens that expire on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardrails import Guard, Policy, Principal
from guardrails.approval import Answer, CallbackChannel
from guardrails.errors import IdentityError
from guardrails.identity import AgentKey, AgentRegistry, JwtVerifier
from guardrails.identity.agents import proven_key
from guardrails.ledger.verify import verify
from guardrails.model import ApprovalRequest
from tests.support.guarded_shop import ANA, POLICY
from tests.support.schema import make_sqlite_shop

ISSUER, AUDIENCE = "https://id.example.com", "shop"
SIGNING = Ed25519PrivateKey.generate()
VERIFIER = JwtVerifier(ISSUER, AUDIENCE, keys={"k": SIGNING.public_key()})
BOT, OTHER = AgentKey.generate("refund-bot"), AgentKey.generate("refund-bot")
REGISTRY = AgentRegistry({"refund-bot": frozenset({BOT.public_key})}, {"client-4711": "refund-bot"})
READ = "SELECT id FROM orders"


def principal(**claims: Any) -> Principal:
    payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ana@example.com", "exp": int(time.time()) + 600, "groups": ["support"]}
    return VERIFIER.principal(jwt.encode(payload | claims, SIGNING, "EdDSA", headers={"kid": "k"}))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{make_sqlite_shop(tmp_path_factory.mktemp('shop') / 'shop.db')}"


@pytest.fixture
def guard(shop: str, tmp_path: Path) -> Iterator[Guard]:
    with Guard.open(Policy.from_text(POLICY), database=shop, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as opened:
        yield opened


def run_query(sql: str) -> list[dict[str, object]]: ...


def of_type(guard: Guard, kind: str) -> list[dict[str, Any]]:
    return [dict(entry) for entry in guard.ledger.entries() if entry["type"] == kind]


def test_the_token_says_who_acts_on_every_entry(guard: Guard) -> None:
    delegated = principal(act={"sub": "refund-bot", "iss": ISSUER, "act": {"sub": "chat"}})
    with guard.session(principal=delegated) as session:
        guard.execute(READ)
        assert session.context.agent == "refund-bot"
    chain = [{"id": "refund-bot", "issuer": ISSUER}, {"id": "chat", "issuer": None}]
    for kind in ("key.bind", "intent"):
        (entry,) = of_type(guard, kind)
        assert (entry["delegation"], entry["agent"]["name"]) == (chain, "refund-bot")
        assert entry["principal"]["token_digest"] == delegated.token_digest


def test_another_agent_cannot_use_the_token(guard: Guard) -> None:
    delegated = principal(act={"sub": "refund-bot"})
    with guard.session(principal=delegated, agent="refund-bot"):
        pass
    for options in ({"agent": "billing-bot"}, {"agent": "Refund-Bot"}, {"agent": ""}, {"agent_key": AgentKey.generate("x")}):
        with pytest.raises(IdentityError) as refused, guard.session(principal=delegated, **options):  # type: ignore[arg-type]
            pass
        assert refused.value.code == "identity.delegation_mismatch"
    assert guard.ledger.size == 0


def test_an_agent_proves_itself(guard: Guard, tmp_path: Path) -> None:
    with guard.session(principal=principal(), agent_key=BOT, purpose=None) as session:
        guard.execute(READ)
        assert (session.context.agent, session.context.agent_key) == ("refund-bot", BOT.fingerprint)
    (bind,) = of_type(guard, "key.bind")
    (intent,) = of_type(guard, "intent")
    assert proven_key(bind) == BOT.public_key
    assert intent["agent"]["key"] == BOT.fingerprint
    REGISTRY.require_proof(bind["agent"]["name"], proven_key(bind))
    assert verify(tmp_path / "audit.db").problems == ()


def test_a_proof_holds_for_one_session_as_it_was(guard: Guard) -> None:
    with guard.session(principal=principal(act={"sub": "refund-bot"}), agent_key=BOT):
        guard.execute(READ)
    (bind,) = of_type(guard, "key.bind")
    changes: list[dict[str, Any]] = [
        {"session": "0" * 32},
        {"principal": bind["principal"] | {"id": "bo@example.com"}},
        {"principal": bind["principal"] | {"verified": "unverified"}},
        {"agent": bind["agent"] | {"name": "billing-bot"}},
        {"agent": bind["agent"] | {"key": OTHER.fingerprint}},
        {"agent": {"name": "refund-bot"}},
        {"agent": None},
        {"delegation": [*bind["delegation"], {"id": "x", "issuer": None}]},
        {"purpose": "payroll"},
        {"policy": "0" * 64},
        {"key": bind["key"] | {"public": "A" * 43 + "="}},
        {"proof": None},
        {"proof": "x"},
        {"proof": bind["proof"] | {"algorithm": "none"}},
        {"proof": bind["proof"] | {"signature": "A" * 86 + "=="}},
        {"proof": bind["proof"] | {"signature": 7}},
        {"proof": bind["proof"] | {"public": "A" * 43 + "="}},
        {"proof": bind["proof"] | {"more": 1}},
        {"proof": OTHER.prove(bind)},
    ]
    for change in changes:
        with pytest.raises(IdentityError) as refused:
            proven_key(bind | change)
        assert refused.value.code == "identity.agent_unproven"
    assert proven_key({name: value for name, value in bind.items() if name not in ("agent", "proof")}) is None


def test_with_a_registry_every_agent_has_to_prove_itself(shop: str, tmp_path: Path) -> None:
    path = tmp_path / "agents.yaml"
    path.write_text(f"agents:\n  refund-bot:\n    keys: ['{BOT.public_text}']\n    subjects: [client-4711]\n", "utf-8")
    policy, ledger = Policy.from_text(POLICY), f"sqlite:///{tmp_path / 'audit.db'}"
    with Guard.open(policy, database=shop, ledger=ledger, agents=path) as guard:
        for options in ({"agent": "refund-bot"}, {"agent": "x"}, {"agent_key": OTHER}, {"agent_key": AgentKey.generate("x")}):
            with pytest.raises(IdentityError) as refused, guard.session(principal=ANA, **options):  # type: ignore[arg-type]
                pass
            assert refused.value.code == "identity.agent_unproven"
        by_token = principal(act={"sub": "client-4711"})
        with pytest.raises(IdentityError), guard.session(principal=by_token):
            pass
        with guard.session(principal=by_token, agent_key=BOT) as session:
            assert session.context.agent == "refund-bot"
            guard.execute(READ)
        with guard.session(principal=ANA) as session:
            assert session.context.agent is None
            guard.execute(READ)
        assert [entry["agent"]["name"] for entry in of_type(guard, "intent")] == ["refund-bot", None]


def test_an_expired_token_ends_the_session_once(guard: Guard, tmp_path: Path) -> None:
    short = principal(exp=int(time.time() + 1.5))
    with guard.session(principal=short):
        guard.execute(READ)
        time.sleep(max(0.0, (short.expires_at or 0) - time.time()) + 0.01)
        with pytest.raises(IdentityError):
            guard.check(READ)
        assert of_type(guard, "session.expired") == []  # a check records nothing
        attempts: list[Callable[[], object]] = [
            lambda: guard.execute(READ),
            lambda: asyncio.run(guard.aexecute(READ)),
            lambda: guard.action("send_mail")(print)("x"),
            lambda: guard.tool(run_query)(READ),
        ]
        for attempt in attempts:
            with pytest.raises(IdentityError) as refused:
                attempt()
            assert refused.value.code == "identity.token_expired"
        with ThreadPoolExecutor(4) as pool:
            tried = [pool.submit(copy_context().run, guard.execute, READ) for _ in range(8)]
        assert {type(one.exception()) for one in tried} == {IdentityError}
    kinds = [entry["type"] for entry in guard.ledger.entries()]
    assert kinds == ["key.bind", "intent", "outcome", "session.expired"]
    assert of_type(guard, "session.expired")[0]["expires_at"] == short.expires_at
    assert verify(tmp_path / "audit.db").problems == ()
    with pytest.raises(IdentityError), guard.session(principal=short):
        pass


def test_a_yes_that_comes_after_the_token_has_expired_runs_nothing(shop: str, tmp_path: Path) -> None:
    def late(_: ApprovalRequest) -> Answer:
        time.sleep(max(0.0, (short.expires_at or 0) - time.time()) + 0.01)
        return Answer(True, principal(sub="lee@example.com", groups=["leads"]), "fine")

    ledger = f"sqlite:///{tmp_path / 'audit.db'}"
    with Guard.open(Policy.from_text(POLICY), database=shop, ledger=ledger, approvals=CallbackChannel(late)) as guard:
        short = principal(exp=int(time.time() + 1.5))
        with guard.session(principal=short), pytest.raises(IdentityError) as refused:
            guard.execute("DELETE FROM orders WHERE id = 1")
        assert refused.value.code == "identity.token_expired"
        assert of_type(guard, "intent") == []
        assert len(of_type(guard, "session.expired")) == 1
        with guard.session(principal=ANA):
            assert len(guard.execute("SELECT id FROM orders WHERE id = 1").rows) == 1
