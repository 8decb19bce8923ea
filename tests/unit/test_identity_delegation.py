"""Tokens that say who acts for whom, tokens of another kind, and what an attacker would write into them."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import IdentityError, UsageError
from guardrails.identity import AgentKey, JwtVerifier
from guardrails.identity.delegation import acting_agent, actors_of
from guardrails.model import Actor, Principal

ISSUER, AUDIENCE, NOW = "https://id.example.com", "shop", 1_800_000_000
KEY = Ed25519PrivateKey.generate()
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ana@example.com", "exp": NOW + 60}
ACCESS = CLAIMS | {"client_id": "app", "iat": NOW, "jti": "1"}
ID = CLAIMS | {"iat": NOW, "nonce": "n"}


def verifier(**options: Any) -> JwtVerifier:
    return JwtVerifier(ISSUER, AUDIENCE, **({"keys": {"k": KEY.public_key()}, "clock_s": lambda: NOW} | options))


def token(claims: dict[str, Any], **header: Any) -> str:
    return jwt.encode(claims, KEY, "EdDSA", headers={"kid": "k", **header})


def signed_text(header: str, claims: str) -> str:
    """A token of exactly these texts, with a signature that holds."""
    parts = [urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).rstrip(b"=") for text in (header, claims)]
    signature = KEY.sign(b".".join(parts))
    return b".".join([*parts, urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def code_of(text: str, **options: Any) -> str:
    with pytest.raises(IdentityError) as refused:
        verifier(**options).principal(text)
    return refused.value.code.removeprefix("identity.")


HEADER, PLAIN = '{"alg":"EdDSA","kid":"k"}', json.dumps(CLAIMS)


def test_the_chain_of_actors() -> None:
    act = {"sub": "planner", "iss": ISSUER, "act": {"sub": "chat", "act": {"sub": "mail"}}}
    found = verifier().principal(token(CLAIMS | {"act": act}))
    assert found.actors == (Actor("planner", ISSUER), Actor("chat"), Actor("mail"))
    assert verifier().principal(token(CLAIMS)).actors == ()
    assert acting_agent(found, None) == acting_agent(found, "planner") == "planner"


@pytest.mark.parametrize(
    "act",
    [
        None, "planner", [], {}, {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": ["planner"]}, {"sub": " planner"},
        {"sub": "plan\u200bner"}, {"sub": "x" * 300}, {"sub": "planner", "iss": 7}, {"sub": "planner", "iss": ""},
        {"client_id": "planner"}, {"sub": "planner", "act": None}, {"sub": "planner", "act": {"iss": ISSUER}},
        {"sub": "e\u0301lan"},
    ],
)  # fmt: skip
def test_chains_that_are_none(act: object) -> None:
    assert code_of(token(CLAIMS | {"act": act})) == "delegation_invalid"


def test_chains_that_are_too_long() -> None:
    def chain(length: int) -> dict[str, Any]:
        return {"sub": "a", **({"act": chain(length - 1)} if length > 1 else {})}

    assert len(verifier(most_actors=3).principal(token(CLAIMS | {"act": chain(3)})).actors) == 3
    assert code_of(token(CLAIMS | {"act": chain(4)}), most_actors=3) == "delegation_invalid"
    assert code_of(token(CLAIMS | {"act": chain(1)}), most_actors=0) == "delegation_invalid"
    assert code_of(token(CLAIMS | {"act": chain(200)})) == "delegation_invalid"


@given(st.lists(st.sampled_from(["planner", "chat", "mail"]), max_size=8))
def test_every_actor_is_kept_in_order(names: list[str]) -> None:
    claims: dict[str, Any] = {"sub": "ana"}
    holder = claims
    for name in names:
        holder["act"] = holder = {"sub": name}
    assert [actor.id for actor in actors_of(claims)] == names


def test_the_agent_is_the_token_s() -> None:
    delegated = Principal("ana", actors=(Actor("client-1"), Actor("chat")))
    for other in ("chat", "CLIENT-1", "", "ana"):
        with pytest.raises(IdentityError) as refused:
            acting_agent(delegated, other)
        assert refused.value.code == "identity.delegation_mismatch"
    assert acting_agent(delegated, None, {"client-1": "refund-bot"}.__getitem__) == "refund-bot"
    assert acting_agent(Principal("ana"), "any") == "any"


def test_kinds_of_tokens() -> None:
    assert verifier(kind="access").principal(token(ACCESS, typ="at+jwt")).id
    assert verifier(kind="access").principal(token(ACCESS, typ="Application/AT+JWT")).id
    assert verifier(kind="id").principal(token(ID), nonce="n").id
    assert verifier(kind="id").principal(token(ID | {"aud": [AUDIENCE, "other"], "azp": AUDIENCE})).id
    assert code_of(token(ACCESS), kind="access") == "token_invalid"
    assert code_of(token(ID, typ="at+jwt"), kind="id") == "token_invalid"
    for kind in ("logout+jwt", "dpop+jwt", "secevent+jwt", "oauth-authz-req+jwt", "JOSE", "at+jwt;x", 7, None):
        assert code_of(token(CLAIMS, typ=kind) if kind else signed_text('{"alg":"EdDSA","kid":"k","typ":null}', PLAIN)) == (
            "token_invalid"
        )
    for name in ("sub", "client_id", "iat", "jti"):
        assert code_of(token({k: v for k, v in ACCESS.items() if k != name}, typ="at+jwt"), kind="access") == "claims_invalid"
    for more in ({"aud": [AUDIENCE, "other"]}, {"azp": "other"}, {"azp": 7}):
        assert code_of(token(ID | more), kind="id") == "claims_invalid"


def test_another_nonce_is_another_answer() -> None:
    for claims, nonce in ((ID, "m"), (CLAIMS, "n"), (ID | {"nonce": 7}, "7"), (ID, "")):
        with pytest.raises(IdentityError) as refused:
            verifier(kind="any").principal(token(claims), nonce=nonce)
        assert refused.value.code == "identity.claims_invalid"


def test_clients() -> None:
    accepted = verifier(clients=["app"])
    for good in (ACCESS, ID | {"azp": "app"}):
        assert accepted.principal(token(good)).id
    for bad in (CLAIMS, ACCESS | {"azp": "other"}, ACCESS | {"client_id": "other"}, ACCESS | {"client_id": ["app"]}):
        assert code_of(token(bad), clients=["app"]) == "claims_invalid"


def test_an_address_counts_when_its_issuer_has_checked_it() -> None:
    claims = CLAIMS | {"email": "bo@example.com"}
    for said in ({}, *({"email_verified": value} for value in (False, "false", 1, None, [], "True"))):
        assert code_of(token(claims | said), subject_claim="email") == "claims_invalid"
    assert verifier(subject_claim="email").principal(token(claims | {"email_verified": True})).id == "bo@example.com"


def test_a_token_that_is_bound_to_a_key_counts_with_that_key() -> None:
    agent, other = AgentKey.generate("a"), AgentKey.generate("b")
    bound = token(CLAIMS | {"cnf": {"jkt": agent.fingerprint}})
    assert verifier().principal(bound, thumbprint=agent.fingerprint).id
    for given_thumbprint in (None, "", other.fingerprint):
        with pytest.raises(IdentityError) as refused:
            verifier().principal(bound, thumbprint=given_thumbprint)
        assert refused.value.code == "identity.token_invalid"
    for cnf in (
        None,
        {},
        "x",
        {"x5t#S256": "x"},
        {"jkt": agent.fingerprint, "jwk": {}},
        {"jkt": None},
        {"jkt": [agent.fingerprint]},
    ):
        with pytest.raises(IdentityError):
            verifier().principal(token(CLAIMS | {"cnf": cnf}), thumbprint=agent.fingerprint)


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ('{"alg":"none","alg":"EdDSA","kid":"k"}', PLAIN),
        ('{"alg":"EdDSA","kid":"x","kid":"k"}', PLAIN),
        (HEADER, PLAIN[:-1] + ',"sub":"bo@example.com"}'),
        (HEADER, PLAIN[:-1] + ',"act":{"sub":"a","sub":"b"}}'),
        (HEADER, PLAIN[:-1] + ',"aud":"other"}'),
        (HEADER, PLAIN[:-1] + ',"groups":["a"],"groups":["admin"]}'),
        (HEADER, PLAIN[:-1] + ',"x":NaN}'),
        (HEADER, PLAIN[:-1] + ',"x":1e999}'),
        (HEADER, PLAIN[:-1] + ',"x":"\\ud800"}'),
        (HEADER, PLAIN[:-1] + ',"x":' + "9" * 5000 + "}"),
        (HEADER, PLAIN[:-1] + ',"x":' + "[" * 3000 + "]" * 3000 + "}"),
        (HEADER, PLAIN + " {}"),
        (HEADER, f"[{PLAIN}]"),
        (HEADER, "\ufeff" + PLAIN),
        (HEADER, PLAIN.replace("ana", "ana\ud800")),
        (HEADER, "null"),
        ("[]", PLAIN),
        ('{"alg":"EdDSA","kid":"k","b64":false}', PLAIN),
        ('{"alg":"EdDSA","kid":"k","crit":[]}', PLAIN),
        ('{"alg":"EdDSA","kid":["k"]}', PLAIN),
        ('{"alg":"EdDSA","kid":"k","typ":"a","typ":"JWT"}', PLAIN),
    ],
)
def test_texts_that_could_be_read_in_two_ways(header: str, claims: str) -> None:
    assert code_of(signed_text(header, claims)) == "token_invalid"


def test_such_a_text_is_good_otherwise() -> None:
    assert verifier().principal(signed_text(HEADER, PLAIN)).id == "ana@example.com"


@pytest.mark.parametrize("change", ["{}=", "{}\n", " {}", "{}.x", "!{}", "{}A", "{}~"])
def test_one_token_has_one_text(change: str) -> None:
    assert code_of(change.format(token(CLAIMS))) == "token_invalid"


def test_stray_bits_of_the_last_character_are_refused() -> None:
    good = token(CLAIMS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at = alphabet.index(good[-1])
    for other in range(at - at % 16, at - at % 16 + 16):
        if other != at:
            assert code_of(good[:-1] + alphabet[other]) == "token_invalid"


@pytest.mark.parametrize("aud", [None, [], [""], [7], {"shop": True}, "", ["shop", 7], [["shop"]], "Shop", "shop "])
def test_audiences_that_are_not_ours(aud: object) -> None:
    assert code_of(signed_text(HEADER, json.dumps(CLAIMS | {"aud": aud}))) == "claims_invalid"


@pytest.mark.parametrize(
    "sub", ["ana\u0301@example.com", "\ud83d", "a\u2028b", "\u00a0ana", "ana\u0000", "\u202eana", 7, None, ["ana"], {}]
)
def test_subjects_that_cannot_be_told_apart(sub: object) -> None:
    text = signed_text(HEADER, json.dumps(CLAIMS | {"sub": sub}))
    assert code_of(text) in {"principal_invalid", "token_invalid"}


@pytest.mark.parametrize("sub", ["аna@example.com", "josé@example.com", "安娜", "o'neil@example.com"])
def test_subjects_of_other_scripts_stay_as_they_are(sub: str) -> None:
    assert verifier().principal(token(CLAIMS | {"sub": sub})).id == sub


@pytest.mark.parametrize("options", [{"kind": "x"}, {"clients": "app"}, {"most_actors": -1}, {"groups_separator": ""}])
def test_unsound_configurations(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        verifier(**options)


def test_groups_in_one_text() -> None:
    claims = CLAIMS | {"scope": "openid  staff"}
    assert verifier(groups_claim="scope", groups_separator=" ").principal(token(claims)).groups == {"openid", "staff"}
    assert verifier(groups_claim="scope").principal(token(CLAIMS | {"scope": "staff"})).groups == {"staff"}


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "act", "cnf", "groups", "azp"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
            max_leaves=4,
        ),
    )
)
def test_whatever_an_issuer_signs_is_a_principal_or_refused(claims: dict[str, Any]) -> None:
    text = signed_text(HEADER, json.dumps(CLAIMS | claims))
    try:
        found = verifier().principal(text)
    except IdentityError:
        return
    assert (found.issuer, found.verified) == (ISSUER, "jwt")
    assert isinstance(found.expires_at, int)
    assert found.id
