"""Loopback servers that speak the sign endpoints of HashiCorp Vault's transit engine and of two clouds' KMS, with real Ed25519 keys.

None of the services can be installed where the tests run, and moto knows no Ed25519 in KMS. The clients are the real ones (hvac, boto3,
google-cloud-kms); what the servers answer follows the services' API references.
"""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from google.cloud.kms import KeyManagementServiceClient

TOKEN = "hvs.planted-vault-token"


@dataclass
class KeyService:
    """What a server holds and how it misbehaves.

    Args:
        keys: Versions of the one key, named ``ledger`` in Vault and ``alias/ledger`` in KMS.
        fault: One of "", "silent" (never answers), "forbidden", "flipped" (a bit of each signature), "ecdsa" (a key of another kind).
    """

    keys: list[Ed25519PrivateKey] = field(default_factory=lambda: [Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()])
    fault: str = ""
    url: str = ""
    requests: int = 0

    def sign(self, message: bytes, version: int) -> bytes:
        signature = bytearray(self.keys[version - 1].sign(message))
        signature[5] ^= self.fault == "flipped"
        return bytes(signature)


@contextmanager
def serving(service: KeyService) -> Iterator[KeyService]:
    """Serves both interfaces on one port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def do_PUT(self) -> None:  # hvac writes with it
            self.do_POST()

        def _answer(self, body: bytes) -> None:
            service.requests += 1
            if service.fault == "silent":
                time.sleep(3)
            is_vault = self.path.startswith("/v1/")
            if service.fault == "forbidden" or (is_vault and self.headers.get("X-Vault-Token") != TOKEN):
                self._send(403, {"errors": ["permission denied"], "__type": "AccessDeniedException"})
            elif is_vault:
                self._send(200, {"data": _vault(service, self.path, json.loads(body or b"{}"))})
            else:
                self._send(200, _kms(service, self.headers["X-Amz-Target"], json.loads(body)))

        def _send(self, status: int, answer: object) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            pass  # a client that gave up

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()


GCP_KEY = "projects/p/locations/l/keyRings/r/cryptoKeys/ledger/cryptoKeyVersions/1"


@contextmanager
def serving_gcp(service: KeyService) -> Iterator[KeyManagementServiceClient]:
    """Serves Google's interface over gRPC and yields its client, without credentials."""
    import grpc
    from google.cloud import kms
    from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceGrpcTransport

    algorithms = kms.CryptoKeyVersion.CryptoKeyVersionAlgorithm

    def check(request: object, context: grpc.ServicerContext) -> None:
        service.requests += 1
        if service.fault == "silent":
            time.sleep(3)
        if service.fault == "forbidden":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "permission denied")
        assert getattr(request, "name", "") == GCP_KEY

    def get_public_key(request: kms.GetPublicKeyRequest, context: grpc.ServicerContext) -> kms.PublicKey:
        check(request, context)
        is_ecdsa = service.fault == "ecdsa"
        key = generate_private_key(SECP256R1()).public_key() if is_ecdsa else service.keys[0].public_key()
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return kms.PublicKey(pem=pem, algorithm=algorithms.EC_SIGN_P256_SHA256 if is_ecdsa else algorithms.EC_SIGN_ED25519)

    def asymmetric_sign(request: kms.AsymmetricSignRequest, context: grpc.ServicerContext) -> kms.AsymmetricSignResponse:
        check(request, context)
        assert not request.digest  # Ed25519 signs the message itself
        return kms.AsymmetricSignResponse(signature=service.sign(request.data, 1))

    methods = {
        "GetPublicKey": (get_public_key, kms.GetPublicKeyRequest, kms.PublicKey),
        "AsymmetricSign": (asymmetric_sign, kms.AsymmetricSignRequest, kms.AsymmetricSignResponse),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(method, request.deserialize, answer.serialize)
        for name, (method, request, answer) in methods.items()
    }
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("google.cloud.kms.v1.KeyManagementService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        yield kms.KeyManagementServiceClient(transport=KeyManagementServiceGrpcTransport(channel=channel))
        channel.close()
    finally:
        server.stop(grace=None)


def _vault(service: KeyService, path: str, body: dict[str, object]) -> dict[str, object]:
    # https://developer.hashicorp.com/vault/api-docs/secret/transit: read key, sign data.
    if path == "/v1/transit/keys/ledger":
        public_keys = [b64encode(key.public_key().public_bytes_raw()).decode() for key in service.keys]
        versions = {str(n): {"name": "ed25519", "public_key": text} for n, text in enumerate(public_keys, 1)}
        return {"type": "ecdsa-p256" if service.fault == "ecdsa" else "ed25519", "keys": versions}
    assert path.startswith("/v1/transit/sign/ledger"), path
    version = int(str(body["key_version"]))
    signature = service.sign(b64decode(str(body["input"])), version)
    return {"signature": f"vault:v{version}:{b64encode(signature).decode()}", "key_version": version}


def _kms(service: KeyService, target: str, body: dict[str, object]) -> dict[str, object]:
    # https://docs.aws.amazon.com/kms/latest/APIReference: GetPublicKey, Sign.
    assert body["KeyId"] == "alias/ledger", body
    if target == "TrentService.GetPublicKey":
        is_ecdsa = service.fault == "ecdsa"
        key = generate_private_key(SECP256R1()).public_key() if is_ecdsa else service.keys[0].public_key()
        return {
            "KeyId": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "KeySpec": "ECC_NIST_P256" if is_ecdsa else "ECC_NIST_EDWARDS25519",
            "KeyUsage": "SIGN_VERIFY",
            "PublicKey": b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode(),
            "SigningAlgorithms": ["ECDSA_SHA_256"] if is_ecdsa else ["ED25519_SHA_512", "ED25519_PH_SHA_512"],
        }
    assert target == "TrentService.Sign", target
    assert (body["MessageType"], body["SigningAlgorithm"]) == ("RAW", "ED25519_SHA_512"), body
    signature = service.sign(b64decode(str(body["Message"])), 1)
    return {"KeyId": "arn", "Signature": b64encode(signature).decode(), "SigningAlgorithm": "ED25519_SHA_512"}
