"""Tokens that must not be accepted, and principals that must not be named."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import IdentityError, UsageError
from guardrails.identity import JwtVerifier, static_principal

ISSUER, AUDIENCE, NOW = "https://id.example.com", "shop", 1_800_000_000
RSA = rsa.generate_private_key(65537, 2048)
WEAK_RSA = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = Ed25519PrivateKey.generate()
PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ana@example.com", "exp": NOW + 60, "groups": ["support"]}


def verifier(**options: Any) -> JwtVerifier:
    keys = {"rsa": PEM, "ec": EC.public_key(), "ed": ED.public_key(), "weak": WEAK_RSA.public_key()}
    return JwtVerifier(ISSUER, AUDIENCE, **({"keys": keys, "clock_s": lambda: NOW} | options))


def token(claims: dict[str, Any] | None = None, key: Any = ED, algorithm: str = "EdDSA", **header: Any) -> str:
    return jwt.encode(CLAIMS | (claims or {}), key, algorithm, headers={"kid": "ed", **header})


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header: dict[str, Any], signature: bytes = b"", secret: bytes | None = None) -> str:
    signed = f"{segment(json.dumps(header).encode())}.{segment(json.dumps(CLAIMS).encode())}"
    if secret is not None:
        signature = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{segment(signature)}"


def without(name: str) -> str:
    return jwt.encode({k: v for k, v in CLAIMS.items() if k != name}, ED, "EdDSA", headers={"kid": "ed"})


def test_a_good_token() -> None:
    written = token({"aud": ["other", AUDIENCE], "region": "eu", "realm": {"roles": ["a", "b"]}})
    principal = verifier(groups_claim="realm.roles", attributes={"area": "region", "missing": "nothing"}).principal(written)
    assert principal.id == "ana@example.com"
    assert principal.groups == {"a", "b"}
    assert principal.attributes == {"area": "eu"}
    assert principal.token_digest == hashlib.sha256(written.encode()).hexdigest()
    assert (principal.expires_at, principal.issuer, principal.verified) == (NOW + 60, ISSUER, "jwt")


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("token_invalid", raw({"alg": "none", "typ": "JWT"})),
        ("token_invalid", raw({"alg": "None", "kid": "ed"})),
        ("token_invalid", raw({"alg": "HS256", "kid": "rsa"}, secret=PEM)),
        ("token_invalid", raw({"alg": ["EdDSA"], "kid": "ed"})),
        ("token_invalid", raw({"kid": "ed"})),
        ("token_invalid", raw({"alg": "EdDSA", "kid": "ed"}, b"\0" * 64)),
        ("token_invalid", raw({"alg": "EdDSA", "kid": "ed"})),
        ("token_invalid", token(crit=["exp"])),
        ("token_invalid", token(crit=["b64"], b64=False)),
        ("token_invalid", token(key=EC, algorithm="ES256", kid="ec")[:-4]),
        ("token_invalid", token()[:-8] + "AAAAAAAA"),
        ("token_invalid", token(key=RSA, algorithm="RS512", kid="rsa")),
        ("token_invalid", "x" * 20_000),
        ("token_invalid", token() + "é"),
        ("token_invalid", ""),
        ("token_invalid", "a.b.c"),
        ("token_invalid", "Bearer " + token()),
        ("token_invalid", token({"nbf": NOW + 31})),
        ("token_invalid", token({"iat": NOW + 31})),
        ("token_expired", token({"exp": NOW - 30})),
        ("key_unknown", token(kid="other")),
        ("key_unknown", token(kid="ec")),
        ("key_unknown", token(key=WEAK_RSA, algorithm="RS256", kid="weak")),
        ("claims_invalid", token({"iss": "https://id.example.com/"})),
        ("claims_invalid", token({"aud": "other"})),
        ("claims_invalid", token({"aud": [AUDIENCE.upper()]})),
        ("claims_invalid", without("exp")),
        ("claims_invalid", without("aud")),
        ("claims_invalid", without("iss")),
        ("claims_invalid", token({"exp": True})),
        ("token_invalid", token({"exp": float("inf")})),
        ("claims_invalid", token({"exp": str(NOW + 60)})),
        ("claims_invalid", token({"groups": {"support": True}})),
        ("claims_invalid", token({"groups": [1]})),
        ("principal_invalid", without("sub")),
        ("principal_invalid", token({"sub": " "})),
        ("principal_invalid", token({"sub": "ana\u202e"})),
        ("principal_invalid", token({"groups": [""]})),
    ],
)
def test_bad_tokens(code: str, bad: str) -> None:
    with pytest.raises(IdentityError) as refused:
        verifier().principal(bad)
    assert refused.value.code == f"identity.{code}"
    assert "ana@" not in str(refused.value) + str(refused.value.evidence)


def test_the_key_in_the_token_is_not_believed() -> None:
    mine = Ed25519PrivateKey.generate()
    jwk = json.loads(jwt.get_algorithm_by_name("EdDSA").to_jwk(mine.public_key()))
    with pytest.raises(IdentityError):
        verifier().principal(token(key=mine, jwk=jwk, jku="https://evil.example.com/jwks"))


def test_without_a_key_id_there_must_be_one_key_that_fits() -> None:
    anonymous = jwt.encode(CLAIMS, EC, "ES256")
    assert verifier().principal(anonymous).id == "ana@example.com"
    second = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(IdentityError) as refused:
        verifier(keys={"one": EC.public_key(), "two": second}).principal(anonymous)
    assert refused.value.code == "identity.key_unknown"


def test_leeway_ends_on_the_second() -> None:
    assert verifier().principal(token({"exp": NOW - 29, "nbf": NOW + 30})).id
    with pytest.raises(IdentityError):
        verifier(leeway_s=0).principal(token({"exp": NOW}))


def test_key_sets_hold_only_what_verifies() -> None:
    public = json.loads(jwt.get_algorithm_by_name("ES256").to_jwk(EC.public_key()))
    secret = {"kty": "oct", "k": segment(b"x" * 32), "kid": "s"}
    jwks = {
        "keys": [
            public | {"kid": "ec"},
            public | {"kid": "enc", "use": "enc"},
            secret,
            {"kty": "EC", "crv": "P-256", "kid": "bad"},
        ]
    }
    checked = verifier(keys=None, jwks=jwks)
    assert checked.principal(token(key=EC, algorithm="ES256", kid="ec")).verified == "jwt"
    for kid in ("enc", "s", "bad"):
        with pytest.raises(IdentityError):
            checked.principal(token(key=EC, algorithm="ES256", kid=kid))


@pytest.mark.parametrize(
    "options",
    [
        {"algorithms": ["none"]}, {"algorithms": ["HS256"]}, {"algorithms": []}, {"algorithms": "RS256"}, {"leeway_s": 3600},
        {"keys": None}, {"keys": {}}, {"jwks": {"keys": []}}, {"keys": {"k": b"secret"}}, {"keys": {"k": RSA}},
    ],
)  # fmt: skip
def test_unsound_configurations_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        verifier(**options)


@settings(deadline=None)
@given(st.integers(0, 255), st.data())
def test_no_changed_token_is_accepted(byte: int, data: st.DataObject) -> None:
    good = token().encode()
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytes([*good[:place], byte, *good[place + 1 :]]).decode("latin-1")
    tail = good.rfind(b".") < place == len(good) - 1  # its last bits are not part of the signature
    if bad.encode("latin-1") != good and not tail:
        with pytest.raises(IdentityError):
            verifier().principal(bad)


@settings(deadline=None)
@given(st.text())
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(IdentityError):
        verifier().principal(text)


def test_static_principals() -> None:
    principal = static_principal("ana@example.com", ["support"], attributes={"region": "eu"})
    assert (principal.verified, principal.groups, principal.attributes) == ("unverified", {"support"}, {"region": "eu"})


@pytest.mark.parametrize(
    ("id_", "groups"),
    [
        ("", ()),
        (" ", ()),
        ("ana ", ()),
        ("a\nb", ()),
        ("a\0", ()),
        ("a\u200b", ()),
        ("x" * 257, ()),
        (7, ()),
        ("ana", "admin"),
        ("ana", [""]),
        ("ana", [7]),
    ],
)
def test_principals_that_cannot_be_told_apart_are_refused(id_: Any, groups: Any) -> None:
    with pytest.raises(IdentityError) as refused:
        static_principal(id_, groups)
    assert refused.value.code == "identity.principal_invalid"
