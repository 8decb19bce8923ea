"""Requests that a trusted proxy has signed: by the foreign library's signer, and then changed in every part."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms

from guardrails.errors import IdentityError, UsageError
from guardrails.identity import SignedHeadersVerifier

SECRET = b"s" * 32
ED, EC = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
URL = "https://shop.example.com/api/run?x=1"
COVERED = ("@method", "@authority", "@path", "x-forwarded-user", "x-forwarded-groups")
KINDS: dict[str, tuple[Any, Any, Any]] = {
    "hmac": (SECRET, SECRET, algorithms.HMAC_SHA256),
    "ed25519": (ED, ED.public_key(), algorithms.ED25519),
    "p256": (EC, EC.public_key(), algorithms.ECDSA_P256_SHA256),
}


@dataclass
class Request:
    method: str = "POST"
    url: str = URL
    headers: dict[str, str] = field(
        default_factory=lambda: {"X-Forwarded-User": "ana@example.com", "X-Forwarded-Groups": "support, eu"}
    )


def signed(kind: str = "hmac", covered: tuple[str, ...] = COVERED, age_s: int = 0, key: Any = None, **options: Any) -> Request:
    private, _, algorithm = KINDS[kind]
    request = Request()
    resolver = MappingKeyResolver(public_keys={}, private_keys={"k": key or private})
    signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=resolver)
    created = datetime.now(UTC) - timedelta(seconds=age_s)
    signer.sign(request, key_id="k", created=created, covered_component_ids=covered, **options)
    return request


def verifier(kind: str = "hmac", **options: Any) -> SignedHeadersVerifier:
    return SignedHeadersVerifier(
        "proxy.example.com", {"k": KINDS[kind][1]}, **({"groups_header": "X-Forwarded-Groups"} | options)
    )


def code_of(request: Request, headers: Any = None, **options: Any) -> str:
    with pytest.raises(IdentityError) as refused:
        verifier(**options).principal(request.method, request.url, request.headers if headers is None else headers)
    return refused.value.code.removeprefix("identity.")


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_signed_request(kind: str) -> None:
    request = signed(kind)
    found = verifier(kind).principal("post", request.url, request.headers)
    assert (found.id, found.groups, found.issuer, found.verified) == (
        "ana@example.com",
        frozenset({"support", "eu"}),
        "proxy.example.com",
        "proxy",
    )
    assert len(found.token_digest or "") == 64
    assert abs((found.expires_at or 0) - datetime.now(UTC).timestamp() - 60) < 5


def test_what_is_changed_after_signing() -> None:
    request = signed()
    headers = request.headers
    for change in (
        {"X-Forwarded-User": "bo@example.com"},
        {"X-Forwarded-Groups": "support, eu, admin"},
        {"Signature": headers["Signature"].replace("=:", "=:", 1)[:-6] + "AAAA=:"},
        {"Signature-Input": headers["Signature-Input"].replace(' "x-forwarded-groups"', "")},
        {"Signature-Input": headers["Signature-Input"].replace('keyid="k"', 'keyid="z"')},
        {"Signature-Input": "nonsense"},
        {"Signature": "nonsense"},
    ):
        assert code_of(request, headers | change) == "header_invalid", change
    pairs = list(headers.items())
    assert code_of(request, [*pairs, ("x-forwarded-user", "bo@example.com")]) == "header_invalid"
    assert code_of(request, [("x-forwarded-user", "bo@example.com"), *pairs]) == "header_invalid"
    for name in headers:
        rest = {n: v for n, v in headers.items() if n != name}
        assert code_of(request, rest) == ("header_invalid" if name == "X-Forwarded-Groups" else "header_missing")
    for method, url in (
        ("GET", URL),
        ("POST", URL.replace("run", "other")),
        ("POST", URL.replace("shop", "evil")),
        ("POST", "::"),
    ):
        assert code_of(Request(method, url, headers)) == "header_invalid"


def test_signatures_that_do_not_cover_enough_or_come_too_late() -> None:
    for covered in (COVERED[:4], COVERED[1:], ("@method", "@authority", "@path", "x-forwarded-groups"), COVERED[3:]):
        assert code_of(signed(covered=covered)) == "header_invalid"
    assert code_of(signed(age_s=120)) == "header_invalid"
    assert code_of(signed(age_s=-120)) == "header_invalid"
    assert code_of(signed(key=b"t" * 32)) == "header_invalid"
    assert code_of(signed("ed25519")) == "header_invalid"
    assert code_of(signed("hmac"), kind="ed25519") == "header_invalid"
    assert code_of(signed(tag="other"), tag="guardrails") == "header_invalid"
    short = signed(expires=datetime.now(UTC) + timedelta(seconds=20))
    assert (verifier().principal(short.method, short.url, short.headers).expires_at or 0) < datetime.now(UTC).timestamp() + 30


def test_ids_that_are_none() -> None:
    for person in ("", "a\u00a0b", "x" * 300):
        request = Request()
        request.headers["X-Forwarded-User"] = person
        if person.isascii():
            resolver = MappingKeyResolver(public_keys={}, private_keys={"k": SECRET})
            HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=resolver).sign(
                request, key_id="k", covered_component_ids=COVERED
            )
            assert code_of(request) == "principal_invalid"


@pytest.mark.parametrize(
    ("issuer", "keys", "options"),
    [
        ("", {"k": SECRET}, {}),
        ("p", {}, {}),
        ("p", {"k": b"short"}, {}),
        ("p", {"k": "s" * 32}, {}),
        ("p", {"k": SECRET, "e": ED.public_key()}, {}),
        ("p", {"k": rsa.generate_private_key(65537, 2048).public_key()}, {}),
        ("p", {"k": SECRET}, {"max_age_s": 0}),
        ("p", {"k": SECRET}, {"max_age_s": 9999}),
    ],
)
def test_unsound_configurations(issuer: str, keys: dict[str, Any], options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SignedHeadersVerifier(issuer, keys, **options)
