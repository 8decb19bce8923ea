"""Signing in with a real provider on loopback, and every answer that is not one to this sign-in."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from guardrails.errors import IdentityError, UsageError
from guardrails.identity import OidcSignIn
from tests.support.identity_provider import IdentityProvider

BACK = "http://127.0.0.1:9/signed-in"


@pytest.fixture(scope="module")
def sign_in(identity_provider: IdentityProvider) -> OidcSignIn:
    return identity_provider.sign_in(BACK)


def test_a_person_signs_in(identity_provider: IdentityProvider, sign_in: OidcSignIn) -> None:
    url, transaction = sign_in.begin(login_hint="ana@example.com")
    asked = parse_qs(urlsplit(url).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["response_type"] == ["code"]
    assert asked["redirect_uri"] == [BACK]
    assert asked["login_hint"] == ["ana@example.com"]
    assert "openid" in asked["scope"][0].split()
    assert transaction["verifier"] not in url
    principal = sign_in.finish(transaction, identity_provider.answer(url, "ana@example.com"))
    assert (principal.id, principal.groups) == ("ana@example.com", {"support"})
    assert (principal.issuer, principal.verified) == (identity_provider.issuer, "jwt")
    assert principal.expires_at is not None
    assert principal.expires_at > time.time()
    assert len(principal.token_digest or "") == 64


Change = Callable[[dict[str, str], dict[str, str]], object]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("sign_in_failed", lambda transaction, answer: answer.update(state="x" * 43)),
        ("sign_in_failed", lambda transaction, answer: answer.update(state="é")),
        ("sign_in_failed", lambda transaction, answer: answer.pop("state")),
        ("sign_in_failed", lambda transaction, answer: answer.pop("code")),
        ("sign_in_failed", lambda transaction, answer: answer.update(code="invented")),
        ("sign_in_failed", lambda transaction, answer: answer.update(iss="https://elsewhere.example.com")),
        ("sign_in_failed", lambda transaction, answer: answer.update(error="access_denied")),
        ("sign_in_failed", lambda transaction, answer: transaction.clear()),
        ("sign_in_failed", lambda transaction, answer: transaction.pop("nonce")),
        ("sign_in_failed", lambda transaction, answer: transaction.update(issuer="https://elsewhere.example.com")),
        ("sign_in_failed", lambda transaction, answer: transaction.update(begun_at="1")),
        ("sign_in_failed", lambda transaction, answer: transaction.update(begun_at="-1")),
        ("sign_in_failed", lambda transaction, answer: transaction.update(begun_at="99999999999")),
        ("claims_invalid", lambda transaction, answer: transaction.update(nonce="another")),
    ],
)
def test_an_answer_to_something_else(
    identity_provider: IdentityProvider, sign_in: OidcSignIn, code: str, change: Change
) -> None:
    url, transaction = sign_in.begin()
    answer = identity_provider.answer(url, "ana@example.com")
    change(transaction, answer)
    with pytest.raises(IdentityError) as refused:
        sign_in.finish(transaction, answer)
    assert refused.value.code == f"identity.{code}"


def test_a_code_is_good_once(identity_provider: IdentityProvider, sign_in: OidcSignIn) -> None:
    url, transaction = sign_in.begin()
    answer = identity_provider.answer(url, "bo@example.com")
    assert sign_in.finish(transaction, urlencode(answer)).id == "bo@example.com"
    with pytest.raises(IdentityError) as refused:
        sign_in.finish(transaction, answer)
    assert refused.value.code == "identity.sign_in_failed"


def test_who_says_no_is_not_signed_in(identity_provider: IdentityProvider, sign_in: OidcSignIn) -> None:
    url, transaction = sign_in.begin()
    answer = identity_provider.answer(url, None)
    with pytest.raises(IdentityError) as refused:
        # The provider's answer to a refusal has no state, which is not good enough either.
        sign_in.finish(transaction, {"state": transaction["state"]} | answer)
    assert refused.value.code == "identity.sign_in_failed"
    assert refused.value.evidence == {"error": "access_denied"}


def test_a_parameter_twice(identity_provider: IdentityProvider, sign_in: OidcSignIn) -> None:
    url, transaction = sign_in.begin()
    answer = urlencode(identity_provider.answer(url, "bo@example.com"))
    for query in (f"code=other&{answer}", f"{answer}&code=other", f"state=&{answer}", f"?{answer}&x=1&x=1"):
        with pytest.raises(IdentityError) as refused:
            sign_in.finish(transaction, query)
        assert refused.value.message == "The provider's answer says something twice."
    assert sign_in.finish(transaction, f"?{answer}").id == "bo@example.com"


@pytest.mark.parametrize("name", ["state", "nonce", "redirect_uri", "response_type", "code_challenge", "scope", "client_id"])
def test_hints_cannot_replace_what_the_sign_in_rests_on(sign_in: OidcSignIn, name: str) -> None:
    with pytest.raises(UsageError):
        sign_in.begin(**{name: "mine"})


def test_a_provider_that_does_not_answer() -> None:
    with pytest.raises(IdentityError) as refused:
        OidcSignIn("http://127.0.0.1:9", "client", redirect_uri=BACK).begin()
    assert refused.value.code == "identity.provider_failed"


@pytest.mark.parametrize(
    ("issuer", "client", "back"), [("", "c", BACK), ("https://id.example.com", "", BACK), ("https://id.example.com", "c", "")]
)
def test_unsound_configurations(issuer: str, client: str, back: str) -> None:
    with pytest.raises(UsageError):
        OidcSignIn(issuer, client, redirect_uri=back)


def test_providers_over_the_open_net_are_refused() -> None:
    with pytest.raises(UsageError):
        OidcSignIn("http://id.example.com", "c", redirect_uri=BACK).begin()
