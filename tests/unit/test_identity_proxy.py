"""Headers of trusted proxies: what they sign is a principal, and what a client could write itself is not."""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from guardrails.errors import IdentityError, UsageError
from guardrails.identity import JwtVerifier, ProxyHeaderVerifier
from guardrails.identity.proxy import AmazonKeys, AmazonVerifier

NOW = 1_800_000_000
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
GOOGLE_AUDIENCE = "/projects/1/global/backendServices/2"
GOOGLE = {"iss": "https://cloud.google.com/iap", "aud": GOOGLE_AUDIENCE, "sub": "accounts.google.com:1", "exp": NOW + 60}
ARN = "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/shop/50dc"
ISSUER = "https://id.example.com"


def google(**options: Any) -> ProxyHeaderVerifier:
    choices = {"jwks_url": None, "keys": {"k": KEY.public_key()}, "clock_s": lambda: NOW} | options
    return ProxyHeaderVerifier.google_iap(GOOGLE_AUDIENCE, **choices)


def assertion(claims: dict[str, Any] | None = None, key: ec.EllipticCurvePrivateKey = KEY) -> str:
    return jwt.encode(GOOGLE | (claims or {}), key, "ES256", headers={"kid": "k"})


def code_of(proxy: ProxyHeaderVerifier, headers: Any) -> str:
    with pytest.raises(IdentityError) as refused:
        proxy.principal(headers)
    return refused.value.code.removeprefix("identity.")


def test_google_s_proxy() -> None:
    found = google().principal({"X-GOOG-IAP-jwt-assertion": assertion(), "X-Goog-Authenticated-User-Id": "forged"})
    assert (found.id, found.verified, found.issuer) == ("accounts.google.com:1", "proxy", GOOGLE["iss"])
    assert found.expires_at == NOW + 60
    by_address = google(subject_claim="email").principal(
        [("x-goog-iap-jwt-assertion", assertion({"email": "ana@example.com", "email_verified": True}))]
    )
    assert by_address.id == "ana@example.com"


def test_cloudflare_s_proxy() -> None:
    jwks = {"keys": [json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(RSA.public_key())) | {"kid": "k"}]}
    proxy = ProxyHeaderVerifier.cloudflare_access(
        "https://example.cloudflareaccess.com/", "tag", jwks_url=None, jwks=jwks, clock_s=lambda: NOW
    )
    claims = {"iss": "https://example.cloudflareaccess.com", "aud": ["tag"], "sub": "ana", "exp": NOW + 60, "type": "app"}
    header = jwt.encode(claims, RSA, "RS256", headers={"kid": "k"})
    assert proxy.principal({"Cf-Access-Jwt-Assertion": header}).verified == "proxy"


def test_headers_that_are_not_the_proxy_s() -> None:
    good = assertion()
    name = "X-Goog-IAP-JWT-Assertion"
    assert code_of(google(), {}) == "header_missing"
    assert code_of(google(), {"X-Goog-Authenticated-User-Email": "ana@example.com"}) == "header_missing"
    assert code_of(google(), [(name, good), (name.lower(), good)]) == "header_invalid"
    assert code_of(google(), {name: f"{good}, {good}"}) == "token_invalid"
    assert code_of(google(), {name: f"Bearer {good}"}) == "token_invalid"
    assert code_of(google(), {name: ""}) == "token_invalid"
    assert code_of(google(), {name: assertion(key=OTHER)}) == "token_invalid"
    assert code_of(google(), {name: assertion({"aud": "/projects/9/global/backendServices/2"})}) == "claims_invalid"
    assert code_of(google(), {name: assertion({"iss": "https://accounts.google.com"})}) == "claims_invalid"
    assert code_of(google(), {name: assertion({"exp": NOW - 60})}) == "token_expired"
    for blank in ("", " "):
        with pytest.raises(UsageError):
            ProxyHeaderVerifier(blank, JwtVerifier("i", "a", keys={"k": KEY.public_key()}))


def amazon_header(header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None, key: Any = KEY) -> str:
    """As the load balancer writes it: base64url with padding, and its own facts in the token's header."""
    head = {"alg": "ES256", "kid": "k-1", "signer": ARN, "client": "app", "iss": ISSUER, "exp": NOW + 120, "typ": "JWT"}
    body = {"sub": "ana", "email": "ana@example.com", "email_verified": "true", "iss": ISSUER, "exp": NOW + 90}
    parts = [urlsafe_b64encode(json.dumps(part).encode()) for part in (head | (header or {}), body | (claims or {}))]
    r, s = decode_dss_signature(key.sign(b".".join(parts), ec.ECDSA(SHA256())))
    return b".".join([*parts, urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))]).decode()


class _Place(BaseHTTPRequestHandler):
    """Where the load balancers' keys are, and how often somebody asked."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        body = pem if self.path == "/k-1" else b"<Error>AccessDenied</Error>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Place)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def amazon(place: str, **options: Any) -> ProxyHeaderVerifier:
    choices = {"keys": AmazonKeys(place, min_refetch_s=0), "clock_s": lambda: NOW} | options
    return ProxyHeaderVerifier.amazon(ARN, "app", ISSUER, **choices)


def test_amazon_s_load_balancer(place: str) -> None:
    _Place.asked.clear()
    proxy = amazon(place)
    for _ in range(3):
        found = proxy.principal({"x-amzn-oidc-data": amazon_header()})
    assert (found.id, found.verified, found.issuer, found.expires_at) == ("ana", "proxy", ISSUER, NOW + 90)
    assert _Place.asked == ["/k-1"]
    assert amazon(place, subject_claim="email").principal({"x-amzn-oidc-data": amazon_header()}).id == "ana@example.com"


@pytest.mark.parametrize(
    ("code", "header", "claims"),
    [
        ("claims_invalid", {"signer": ARN[:-1]}, {}),
        ("claims_invalid", {"signer": None}, {}),
        ("claims_invalid", {"client": "other"}, {}),
        ("claims_invalid", {"iss": "https://evil.example.com"}, {}),
        ("claims_invalid", {}, {"iss": "https://evil.example.com"}),
        ("claims_invalid", {"exp": None}, {}),
        ("claims_invalid", {}, {"exp": None}),
        ("token_expired", {"exp": NOW - 60}, {}),
        ("token_expired", {}, {"exp": NOW - 60}),
        ("token_invalid", {"alg": "HS256"}, {}),
        ("token_invalid", {"alg": "none"}, {}),
        ("key_unknown", {"kid": "k-2"}, {}),
        ("key_unknown", {"kid": "../k-1"}, {}),
        ("key_unknown", {"kid": "k-1?x"}, {}),
        ("key_unknown", {"kid": None}, {}),
        ("principal_invalid", {}, {"sub": ""}),
    ],
)
def test_what_no_load_balancer_of_ours_has_made(place: str, code: str, header: dict[str, Any], claims: dict[str, Any]) -> None:
    _Place.asked.clear()
    assert code_of(amazon(place), {"x-amzn-oidc-data": amazon_header(header, claims)}) == code
    assert set(_Place.asked) <= {"/k-1", "/k-2"}


def test_another_load_balancer_s_key_and_other_forms(place: str) -> None:
    name = "x-amzn-oidc-data"
    assert code_of(amazon(place), {name: amazon_header(key=OTHER)}) == "token_invalid"
    assert code_of(amazon(place), {name: amazon_header() + "="}) == "token_invalid"
    assert code_of(amazon(place, subject_claim="email"), {name: amazon_header(claims={"email_verified": "false"})}) == (
        "claims_invalid"
    )
    for signer, client, issuer in ((ARN[4:], "app", ISSUER), ("", "app", ISSUER), (ARN, "", ISSUER), (ARN, "app", "")):
        with pytest.raises(UsageError):
            AmazonVerifier(signer, client, issuer)


def test_invented_key_ids_do_not_flood_the_place(place: str) -> None:
    _Place.asked.clear()
    keys = AmazonKeys(place, clock_s=lambda: 0)
    for number in range(20):
        with pytest.raises(IdentityError):
            keys.find(f"k-{number + 5}", "ES256")
    assert len(_Place.asked) == 1
