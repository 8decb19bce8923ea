"""A guard over the shop whose channel pauses a framework, a scripted model that wants to delete an order, and who may allow it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardrails import Guard, Policy, Principal
from guardrails.approval import Channel
from guardrails.identity import JwtVerifier
from guardrails.testing import Conversation, ModelServer, ToolCall, Turn
from tests.support.guarded_shop import ANA, POLICY

__all__ = ["CONSOLE", "DELETE", "QUESTION", "lead", "loopback", "model", "open_paused", "rows_left"]

CONSOLE = "https://console.example.com"
DELETE = "DELETE FROM orders WHERE id = 4"
QUESTION = "Delete order 4, please."
_ISSUER, _AUDIENCE = "https://id.example.com", "shop"
_KEY = Ed25519PrivateKey.generate()
_VERIFIER = JwtVerifier(_ISSUER, _AUDIENCE, keys={"k": _KEY.public_key()})


def lead(subject: str = "lea@example.com", groups: tuple[str, ...] = ("leads",)) -> Principal:
    """A person established by a signed token."""
    claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": subject, "groups": list(groups), "exp": int(time.time()) + 600}
    return _VERIFIER.principal(jwt.encode(claims, _KEY, "EdDSA", headers={"kid": "k"}))


@contextmanager
def open_paused(database: Path, folder: Path, channel: Channel | None) -> Iterator[Guard]:
    """Opens a guard with a session of Ana's in force; the ledger and the approvals are those of the folder."""
    ledger = f"sqlite:///{folder / 'audit.db'}"
    with (
        Guard.open(Policy.from_text(POLICY), database=f"sqlite:///{database}", ledger=ledger, approvals=channel) as guard,
        guard.session(principal=ANA, agent="bot"),
    ):
        yield guard


def rows_left(guard: Guard) -> int:
    """How many orders there are."""
    return int(str(guard.execute("SELECT count(*) FROM orders").rows[0][0]))


def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps clients from going through a proxy."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def model(*statements: str, tool: str = "query_database") -> Iterator[str]:
    """Serves a model that runs the statements one after the other and then repeats the last result; yields the URL for clients."""
    wanted = statements or (DELETE,)

    def script(conversation: Conversation) -> Turn:
        done = len(conversation.results)
        if done == len(wanted):
            return Turn(conversation.results[-1])
        return Turn("", (ToolCall(f"call_{done + 1}", tool, {"sql": wanted[done]}),))

    with ModelServer(script) as server:
        yield f"{server.url}/v1"
