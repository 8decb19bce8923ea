"""An Ed25519 key in AWS KMS (key spec ECC_NIST_EDWARDS25519, algorithm ED25519_SHA_512 over the message itself).

Written to the service's interface because securesystemslib's signer for it speaks ECDSA and RSA only. Region and credentials are those
that boto3 finds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.note import Signer, Verifier
from guardrails.ledger.signers.checked import CheckedSigner, Turn

if TYPE_CHECKING:
    from guardrails.ledger.signers.loading import Request

__all__ = ["load_aws_signer"]

_ALGORITHM = "ED25519_SHA_512"
_MAX_MESSAGE_BYTES = 4096
"""Of a message that KMS signs itself (API Sign, MessageType RAW); Ed25519 leaves no other way. Checkpoints are far smaller."""


def load_aws_signer(request: Request) -> Signer:
    """Asks KMS for the public key and returns a signer for it.

    Raises:
        UsageError: boto3 is not installed (usage.extra_missing), or the URI names no key (usage.signer_unknown).
        LedgerError: KMS does not answer, or the key gives no Ed25519 signatures (ledger.signer_failed).
    """
    name, key_id = request.required_name(), request.rest
    if not key_id:
        raise UsageError("usage.signer_unknown", "awskms: names no key.", hint="Give a key id, a key ARN or alias/NAME.")
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise UsageError(
            "usage.extra_missing", "Keys in AWS KMS need boto3.", hint="Install guardrails-sql[awskms]."
        ) from error

    def connect() -> tuple[Any, bytes]:
        config = Config(connect_timeout=request.timeout_s, read_timeout=request.timeout_s, retries={"total_max_attempts": 2})
        client = boto3.client("kms", config=config)
        answer = client.get_public_key(KeyId=key_id)
        key = load_der_public_key(answer["PublicKey"]) if _ALGORITHM in answer["SigningAlgorithms"] else None
        if not isinstance(key, Ed25519PublicKey):
            raise LedgerError(
                "ledger.signer_failed",
                f"The key {request.uri} is not an Ed25519 key.",
                hint="Make one with the key spec ECC_NIST_EDWARDS25519.",
                evidence={"kind": answer.get("KeySpec", "unknown")},
            )
        return client, key.public_bytes_raw()

    turn: Turn[tuple[Any, bytes]] = Turn(request.uri, request.timeout_s)
    client, public_key = turn.run(connect)

    def sign(message: bytes) -> bytes:
        if len(message) > _MAX_MESSAGE_BYTES:
            raise LedgerError("ledger.signer_failed", f"AWS KMS signs at most {_MAX_MESSAGE_BYTES} bytes.")
        answer = client.sign(KeyId=key_id, Message=message, MessageType="RAW", SigningAlgorithm=_ALGORITHM)
        return bytes(answer["Signature"])

    return CheckedSigner(Verifier(name, public_key), sign, label=request.uri, timeout_s=request.timeout_s)
