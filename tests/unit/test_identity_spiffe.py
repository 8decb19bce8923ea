"""JWT-SVIDs: what SPIFFE's specification lets a verifier accept, and nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardrails.errors import IdentityError, UsageError
from guardrails.identity import SpiffeVerifier
from guardrails.identity.spiffe import require_spiffe_id
from guardrails.model import Actor

NOW = 1_800_000_000
KEY, OTHER, ED = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()), Ed25519PrivateKey.generate()
ID = "spiffe://prod.example.com/agents/refund-bot"
CLAIMS: dict[str, Any] = {"sub": ID, "aud": ["shop"], "exp": NOW + 60}


def jwk(key: Any, kid: str, **fields: Any) -> dict[str, Any]:
    algorithm = "EdDSA" if key is ED else "ES256"
    return json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key())) | {"kid": kid, "use": "jwt-svid"} | fields


BUNDLE = {
    "keys": [jwk(KEY, "k"), jwk(OTHER, "x", use="x509-svid"), jwk(OTHER, "s", use="sig"), jwk(ED, "e")],
    "spiffe_sequence": 1,
    "spiffe_refresh_hint": 300,
}
UNMARKED = {"keys": [{k: v for k, v in jwk(KEY, "k").items() if k != "use"}]}


def verifier(bundle: Any = BUNDLE, trust_domain: str = "prod.example.com") -> SpiffeVerifier:
    return SpiffeVerifier(trust_domain, "shop", bundle=bundle, clock_s=lambda: NOW)


def svid(claims: dict[str, Any] | None = None, key: Any = KEY, algorithm: str = "ES256", **header: Any) -> str:
    return jwt.encode(CLAIMS | (claims or {}), key, algorithm, headers={"kid": "k", **header})


def test_a_workload() -> None:
    found = verifier().principal(svid())
    assert (found.id, found.verified, found.issuer) == (ID, "spiffe", "spiffe://prod.example.com")
    assert (found.groups, found.expires_at) == (frozenset(), NOW + 60)
    assert verifier().principal(svid(typ="JOSE")).id == ID
    assert verifier().principal(svid({"act": {"sub": "chat"}})).actors == (Actor("chat"),)


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("key_unknown", svid(key=OTHER, kid="x")),
        ("key_unknown", svid(key=OTHER, kid="s")),
        ("key_unknown", svid(kid="z")),
        ("token_invalid", svid(key=OTHER)),
        ("token_invalid", svid(key=ED, algorithm="EdDSA", kid="e")),
        ("token_invalid", jwt.encode(CLAIMS, "x" * 32, "HS256", headers={"kid": "k"})),
        ("token_invalid", jwt.encode(CLAIMS, KEY, "ES256")),
        ("token_invalid", svid(typ="at+jwt")),
        ("claims_invalid", svid({"sub": "spiffe://test.example.com/agents/refund-bot"})),
        ("claims_invalid", svid({"sub": "spiffe://prod.example.com.evil.org/agents/refund-bot"})),
        ("claims_invalid", svid({"sub": "https://prod.example.com/agents/refund-bot"})),
        ("claims_invalid", svid({"sub": "spiffe://prod.example.com"})),
        ("claims_invalid", svid({"aud": ["other"]})),
        ("claims_invalid", svid({"aud": []})),
        ("claims_invalid", svid({"aud": None})),
        ("claims_invalid", svid({"exp": None})),
        ("claims_invalid", svid({"sub": ""})),
        ("token_expired", svid({"exp": NOW - 30})),
        ("token_invalid", svid({"iat": NOW + 31})),
        ("principal_invalid", svid({"sub": "spiffe://prod.example.com/" + "a" * 300})),
        ("delegation_invalid", svid({"act": {}})),
    ],
)
def test_what_is_no_svid_of_ours(code: str, bad: str) -> None:
    with pytest.raises(IdentityError) as refused:
        verifier().principal(bad)
    assert refused.value.code == f"identity.{code}"


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://", "spiffe:///a", "spiffe://Prod.example.com/a", "spiffe://prod.example.com:80/a", "spiffe://u@prod.example.com/a",
        "spiffe://prod.example.com/", "spiffe://prod.example.com//a", "spiffe://prod.example.com/a/", "spiffe://prod.example.com/./a",
        "spiffe://prod.example.com/a/..", "spiffe://prod.example.com/a?b", "spiffe://prod.example.com/a#b", "SPIFFE://x/a",
        "spiffe://prod.example.com/%61", "spiffe://prod.example.com/ä", "spiffe://prod.example.com/a b", 7, None,
        "spiffe://prod.example.com/a\n",
    ],
)  # fmt: skip
def test_texts_that_are_no_spiffe_ids(text: object) -> None:
    with pytest.raises(IdentityError):
        require_spiffe_id(text)


def test_bundles_in_files_and_their_rotation(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    checked = SpiffeVerifier("prod.example.com", "shop", bundle=path, clock_s=lambda: NOW)
    with pytest.raises(IdentityError) as refused:
        checked.principal(svid())
    assert refused.value.code == "identity.key_unknown"
    path.write_text(json.dumps(BUNDLE), "utf-8")
    time.sleep(1.01)
    assert checked.principal(svid()).id == ID


def test_keys_must_say_what_they_are_for() -> None:
    with pytest.raises(UsageError):
        verifier(UNMARKED)


@pytest.mark.parametrize("trust_domain", ["", "Prod", "spiffe://prod.example.com", "prod/a", "a" * 256])
def test_unsound_configurations(trust_domain: str) -> None:
    with pytest.raises(UsageError):
        verifier(trust_domain=trust_domain)
