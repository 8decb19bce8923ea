"""An Ed25519 key in Google Cloud KMS (algorithm EC_SIGN_ED25519, over the message itself).

Written to the service's client because securesystemslib's signer for it speaks ECDSA, RSA and ML-DSA only. Project and credentials are
those that the client finds (application default credentials).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.note import Signer, Verifier
from guardrails.ledger.signers.checked import CheckedSigner, Turn

if TYPE_CHECKING:
    from google.cloud import kms

    from guardrails.ledger.signers.loading import Request

__all__ = ["load_gcp_signer"]

_FORM = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+/cryptoKeyVersions/[1-9][0-9]*", re.ASCII)
_ALGORITHM = "EC_SIGN_ED25519"


def load_gcp_signer(request: Request, client: kms.KeyManagementServiceClient | None = None) -> Signer:
    """Asks KMS for the public key and returns a signer for it.

    Args:
        request: Names the version of a key, fully qualified.
        client: A client with credentials or an endpoint of its own; the default one if left out.

    Raises:
        UsageError: google-cloud-kms is not installed (usage.extra_missing), or the URI names no version of a key
            (usage.signer_unknown).
        LedgerError: KMS does not answer, or the key gives no Ed25519 signatures (ledger.signer_failed).
    """
    name, version = request.required_name(), request.rest
    if _FORM.fullmatch(version) is None:
        raise UsageError(
            "usage.signer_unknown",
            f"{request.uri} names no version of a key.",
            hint="Write gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N.",
        )
    try:
        from google.cloud import kms
    except ImportError as error:
        raise UsageError(
            "usage.extra_missing", "Keys in Google Cloud KMS need google-cloud-kms.", hint="Install guardrails-sql[gcpkms]."
        ) from error

    def connect() -> tuple[kms.KeyManagementServiceClient, bytes]:
        service = client or kms.KeyManagementServiceClient()
        answer = service.get_public_key(request={"name": version}, timeout=request.timeout_s)
        kind = answer.algorithm.name
        key = load_pem_public_key(answer.pem.encode()) if kind == _ALGORITHM else None
        if not isinstance(key, Ed25519PublicKey):
            raise LedgerError(
                "ledger.signer_failed",
                f"The key {request.uri} is not an Ed25519 key.",
                hint=f"Make one with the algorithm {_ALGORITHM}.",
                evidence={"kind": kind},
            )
        return service, key.public_bytes_raw()

    turn: Turn[tuple[kms.KeyManagementServiceClient, bytes]] = Turn(request.uri, request.timeout_s)
    service, public_key = turn.run(connect)

    def sign(message: bytes) -> bytes:
        answer = service.asymmetric_sign(request={"name": version, "data": message}, timeout=request.timeout_s)
        return bytes(answer.signature)

    return CheckedSigner(Verifier(name, public_key), sign, label=request.uri, timeout_s=request.timeout_s)
