"""Tokens of a real issuer on loopback: discovery, keys that rotate, an issuer that fails, floods and redirects."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guardrails.errors import IdentityError, UsageError
from guardrails.identity import JwtVerifier
from guardrails.identity.jwks import JwksClient

AUDIENCE = "shop"
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey


class Issuer:
    """An issuer's server: the keys that it publishes may change at any time, and it counts how often they are read."""

    def __init__(self) -> None:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = issuer.answer(self.path)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/jwks")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.keys: dict[str, tuple[str, Private]] = {}
        self.reads = 0
        self.is_down = False
        self.said_issuer = self.url
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str) -> tuple[int, bytes]:
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps({"issuer": self.said_issuer, "jwks_uri": f"{self.url}/jwks"}).encode()
        if path == "/redirect":
            return 302, b""
        if path == "/huge":
            return 200, b" " * 600_000 + b"{}"
        self.reads += 1
        if self.is_down:
            return 503, b"{}"
        return 200, json.dumps(
            {"keys": [*map(self.jwk, self.keys), {"kty": "oct", "k": "c2VjcmV0", "kid": "o"}, "junk"]}
        ).encode()

    def jwk(self, kid: str) -> dict[str, object]:
        algorithm, key = self.keys[kid]
        public: dict[str, object] = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
        return public | {"kid": kid, "use": "sig", "alg": algorithm}

    def rotate(self, kid: str, algorithm: str = "ES256", *, keep: bool = False) -> None:
        made: dict[str, Private] = {"EdDSA": Ed25519PrivateKey.generate(), "ES256": ec.generate_private_key(ec.SECP256R1())}
        key = made.get(algorithm) or rsa.generate_private_key(65537, 2048)
        self.keys = (self.keys if keep else {}) | {kid: (algorithm, key)}

    def token(self, kid: str, **claims: object) -> str:
        algorithm, key = self.keys[kid]
        now = int(time.time())
        payload = {"iss": self.url, "aud": AUDIENCE, "sub": "ana", "iat": now, "exp": now + 60, "groups": ["support"], **claims}
        return jwt.encode(payload, key, algorithm, headers={"kid": kid})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.server.shutdown()
    issuer.server.server_close()


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_discovery_leads_to_a_principal(issuer: Issuer, algorithm: str) -> None:
    issuer.rotate("k1", algorithm)
    verifier = JwtVerifier.discover(issuer.url, AUDIENCE, attributes=["region"])
    principal = verifier.principal(issuer.token("k1", region="eu"))
    assert (principal.id, principal.groups, principal.verified) == ("ana", {"support"}, "jwt")
    assert (principal.issuer, principal.attributes) == (issuer.url, {"region": "eu"})
    assert len(principal.token_digest or "") == 64
    assert principal.expires_at is not None


def test_keys_are_cached_and_read_again_once_after_a_rotation(issuer: Issuer) -> None:
    clock = [0.0]
    client = JwksClient(f"{issuer.url}/jwks", clock_s=lambda: clock[0])
    issuer.rotate("k1")
    for _ in range(3):
        assert client.find("k1", "ES256").id == "k1"
    assert issuer.reads == 1
    issuer.rotate("k2")
    clock[0] = 20
    assert client.find("k2", "ES256").id == "k2"
    assert issuer.reads == 2
    with pytest.raises(IdentityError) as gone:
        client.find("k1", "ES256")
    assert gone.value.code == "identity.key_unknown"


def test_invented_key_ids_do_not_flood_the_issuer(issuer: Issuer) -> None:
    issuer.rotate("k1")
    client = JwksClient(f"{issuer.url}/jwks")
    client.find("k1", "ES256")
    for number in range(50):
        with pytest.raises(IdentityError):
            client.find(f"invented{number}", "ES256")
    assert issuer.reads == 1
    assert client.find("k1", "ES256").id == "k1"


def test_keys_that_cannot_be_renewed_are_not_used(issuer: Issuer) -> None:
    clock = [0.0]
    issuer.rotate("k1")
    client = JwksClient(f"{issuer.url}/jwks", max_age_s=100, clock_s=lambda: clock[0])
    client.find("k1", "ES256")
    issuer.is_down = True
    clock[0] = 99
    client.find("k1", "ES256")
    for clock[0] in (100, 101):
        with pytest.raises(IdentityError) as refused:
            client.find("k1", "ES256")
        assert refused.value.code == "identity.key_unknown"
    assert issuer.reads == 2
    issuer.is_down = False
    clock[0] = 120
    assert client.find("k1", "ES256").id == "k1"


def test_threads_share_one_reading(issuer: Issuer) -> None:
    issuer.rotate("k1")
    verifier = JwtVerifier(issuer.url, AUDIENCE, jwks_url=f"{issuer.url}/jwks")
    token = issuer.token("k1")
    threads = [threading.Thread(target=verifier.principal, args=(token,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert issuer.reads == 1


@pytest.mark.parametrize("path", ["/redirect", "/huge"])
def test_redirects_and_floods_are_not_followed(issuer: Issuer, path: str) -> None:
    with pytest.raises(IdentityError) as refused:
        JwksClient(issuer.url + path).find("k1", "ES256")
    assert refused.value.code == "identity.key_unknown"


def test_a_configuration_of_another_issuer_is_refused(issuer: Issuer) -> None:
    issuer.said_issuer = "https://elsewhere.example.com"
    with pytest.raises(IdentityError) as refused:
        JwtVerifier.discover(issuer.url, AUDIENCE)
    assert refused.value.code == "identity.key_unknown"


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com/jwks",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "https:///x",
        "127.0.0.1/x",
        "http://127.0.0.1.example.com/",
        "http://[::1",
    ],
)
def test_keys_are_only_read_where_nobody_can_put_in_others(url: str) -> None:
    with pytest.raises(UsageError):
        JwksClient(url)
