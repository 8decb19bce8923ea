"""Tokens and sign-in of a foreign OpenID provider, from the browser's answer to the entry in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guardrails import Guard, Policy
from guardrails.errors import IdentityError
from guardrails.identity import JwtVerifier, OidcSignIn
from guardrails.identity.discovery import discover_provider
from guardrails.identity.jwks import JwksClient
from guardrails.identity.jwt import TokenKind
from tests.conftest import missing
from tests.support.glewlwyd import BACK, CLIENT_ID, CLIENT_SECRET, RESOURCE, Glewlwyd, is_installed, running_glewlwyd
from tests.support.guarded_shop import POLICY
from tests.support.schema import make_sqlite_shop


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glewlwyd]:
    if not is_installed():
        missing("the Debian package glewlwyd is not installed")
    with running_glewlwyd(tmp_path_factory.mktemp("glewlwyd")) as running:
        yield running


@pytest.fixture(scope="module")
def sign_in(provider: Glewlwyd) -> OidcSignIn:
    return OidcSignIn(
        provider.issuer, CLIENT_ID, CLIENT_SECRET, redirect_uri=BACK, scopes=(), subject_claim="preferred_username"
    )


@pytest.fixture(scope="module")
def tokens(provider: Glewlwyd, sign_in: OidcSignIn) -> dict[str, str]:
    """Access token for the shop and ID token of Ana, by one code."""
    url, transaction = sign_in.begin(resource=RESOURCE)
    return provider.tokens(provider.answer("ana", url), transaction["verifier"])


def verifier(provider: Glewlwyd, audience: str, kind: TokenKind, **options: str) -> JwtVerifier:
    return JwtVerifier.discover(
        provider.issuer, audience, kind=kind, subject_claim="preferred_username", groups_separator=",", **options
    )


def test_a_person_signs_in(provider: Glewlwyd, sign_in: OidcSignIn) -> None:
    url, transaction = sign_in.begin()
    principal = sign_in.finish(transaction, provider.answer("lea", url))
    assert (principal.id, principal.groups) == ("lea", {"managers", "security"})
    assert (principal.issuer, principal.verified) == (provider.issuer, "jwt")


def test_who_stole_the_code_lacks_the_verifier(provider: Glewlwyd, sign_in: OidcSignIn) -> None:
    url, transaction = sign_in.begin()
    answer = provider.answer("lea", url)
    with pytest.raises(IdentityError) as refused:
        sign_in.finish(transaction | {"verifier": "x" * 64}, answer)
    assert refused.value.code == "identity.sign_in_failed"


def test_a_client_with_another_secret_gets_nothing(provider: Glewlwyd) -> None:
    other = OidcSignIn(provider.issuer, CLIENT_ID, "guessed", redirect_uri=BACK)
    url, transaction = other.begin()
    with pytest.raises(IdentityError) as refused:
        other.finish(transaction, provider.answer("lea", url))
    assert refused.value.code == "identity.sign_in_failed"


def test_access_and_id_tokens_are_told_apart(provider: Glewlwyd, tokens: dict[str, str]) -> None:
    access = verifier(provider, RESOURCE, "access").principal(tokens["access_token"])
    assert (access.id, access.groups, access.issuer) == ("ana", {"support"}, provider.issuer)
    assert verifier(provider, CLIENT_ID, "id").principal(tokens["id_token"]).id == "ana"
    assert verifier(provider, RESOURCE, "any").principal(tokens["access_token"]).id == "ana"
    confusions: list[tuple[str, TokenKind, str, str]] = [
        (CLIENT_ID, "access", "id_token", "token_invalid"),
        (RESOURCE, "id", "access_token", "token_invalid"),
        (RESOURCE, "any", "id_token", "claims_invalid"),
        (CLIENT_ID, "any", "access_token", "claims_invalid"),
        (RESOURCE, "access", "refresh_token", "token_invalid"),
    ]
    for audience, kind, name, code in confusions:
        with pytest.raises(IdentityError) as refused:
            verifier(provider, audience, kind).principal(tokens[name])
        assert refused.value.code == f"identity.{code}"


def test_only_tokens_of_accepted_clients(provider: Glewlwyd, tokens: dict[str, str]) -> None:
    for clients, is_accepted in (((CLIENT_ID,), True), (("another",), False)):
        checked = JwtVerifier.discover(provider.issuer, RESOURCE, clients=clients, subject_claim="preferred_username")
        if is_accepted:
            assert checked.principal(tokens["access_token"]).id == "ana"
        else:
            with pytest.raises(IdentityError):
                checked.principal(tokens["access_token"])


def test_from_the_token_to_the_ledger(provider: Glewlwyd, tokens: dict[str, str], tmp_path: Path) -> None:
    principal = verifier(provider, RESOURCE, "access").principal(tokens["access_token"])
    database = f"sqlite:///{make_sqlite_shop(tmp_path / 'shop.db')}"
    with (
        Guard.open(Policy.from_text(POLICY), database=database, ledger=f"sqlite:///{tmp_path / 'audit.db'}") as guard,
        guard.session(principal=principal, agent="refund-bot"),
    ):
        guard.execute("SELECT id FROM orders")
        (intent,) = [entry for entry in guard.ledger.entries() if entry["type"] == "intent"]
    assert intent["principal"] == {
        "id": "ana",
        "issuer": provider.issuer,
        "groups": ["support"],
        "verified": "jwt",
        "token_digest": principal.token_digest,
    }


def test_keys_that_are_replaced(provider: Glewlwyd, sign_in: OidcSignIn, tokens: dict[str, str]) -> None:
    keys = JwksClient(discover_provider(provider.issuer).jwks_url, min_refetch_s=0)
    lasting = JwtVerifier(provider.issuer, RESOURCE, keys=keys, subject_claim="preferred_username")
    assert lasting.principal(tokens["access_token"]).id == "ana"
    provider.rotate("second")
    assert lasting.principal(tokens["access_token"]).id == "ana"  # until the keys are read again
    url, transaction = sign_in.begin(resource=RESOURCE)
    renewed = provider.tokens(provider.answer("ana", url), transaction["verifier"])
    assert lasting.principal(renewed["access_token"]).id == "ana"
    with pytest.raises(IdentityError) as refused:
        lasting.principal(tokens["access_token"])
    assert refused.value.code == "identity.key_unknown"
