"""The signature types that notes carry here, as a table: Ed25519 (0x01), and the timestamped cosignatures of C2SP
tlog-cosignature (c2sp.org/tlog-cosignature) by Ed25519 (0x04) and ML-DSA-44 (0x06).

A type says which bytes are signed for a note's text, and how such a signature is checked. ML-DSA-44 (FIPS 204) needs a release of
`cryptography` that has it; without one, a key of that type is a clear error, never a signature that is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guardrails.errors import UsageError
from guardrails.ledger.curve import check_public_key
from guardrails.ledger.text import note_error
from guardrails.ledger.tree_head import Checkpoint

__all__ = [
    "COSIGNATURE_ED25519",
    "COSIGNATURE_ML_DSA_44",
    "ED25519",
    "MAX_TIME_S",
    "SIGNATURE_TYPES",
    "SignatureType",
    "missing_ml_dsa",
]

ED25519 = b"\x01"
"""Signature type byte of plain Ed25519 signatures over the note's text."""
COSIGNATURE_ED25519 = b"\x04"
"""Signature type byte of timestamped Ed25519 cosignatures of checkpoints."""
COSIGNATURE_ML_DSA_44 = b"\x06"
"""Signature type byte of timestamped ML-DSA-44 cosignatures of checkpoints."""
MAX_TIME_S = 2**63 - 1

_MAX_OPAQUE_BYTES = 255


@dataclass(frozen=True, slots=True)
class SignatureType:
    """How one type of signature works.

    Args:
        label: For people.
        key_bytes: Length of a public key.
        signature_bytes: Length of a signature, without key id and timestamp.
        is_timestamped: An unsigned 64-bit big-endian POSIX time stands before the signature.
        message: From key name, note text and time in seconds to the bytes that are signed; raises LedgerError where the text
            cannot be signed in this way.
        check_key: Raises LedgerError for public keys under which signatures mean nothing.
        is_valid: Whether, for public key, message and signature, the signature holds.
    """

    label: str
    key_bytes: int
    signature_bytes: int
    is_timestamped: bool
    message: Callable[[str, str, int], bytes]
    check_key: Callable[[bytes], None]
    is_valid: Callable[[bytes, bytes, bytes], bool]


def missing_ml_dsa(error: Exception) -> UsageError:
    """Returns the error of a `cryptography` that cannot do ML-DSA-44."""
    refusal = UsageError(
        "usage.extra_missing",
        "The installed release of `cryptography` has no ML-DSA-44.",
        hint="Install a current release (pip install --upgrade cryptography), or leave the ML-DSA-44 key out.",
    )
    refusal.__cause__ = error
    return refusal


def _plain_message(_name: str, text: str, _time_s: int) -> bytes:
    return text.encode()


def _cosignature_message(_name: str, text: str, time_s: int) -> bytes:
    Checkpoint.parse(text)
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def _subtree_message(name: str, text: str, time_s: int) -> bytes:
    checkpoint = Checkpoint.parse(text)
    if checkpoint.extensions:
        raise note_error("An ML-DSA-44 cosignature does not cover extension lines, so it is not accepted where there are some.")
    return b"".join(
        (
            b"subtree/v1\n\x00",
            _opaque(name),
            time_s.to_bytes(8, "big"),
            _opaque(checkpoint.origin),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _opaque(text: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= _MAX_OPAQUE_BYTES:
        raise note_error("A name under an ML-DSA-44 cosignature has at most 255 bytes.")
    return bytes([len(data)]) + data


def _check_ml_dsa_key(_key: bytes) -> None:
    return


def _is_valid_ed25519(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_valid_ml_dsa(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

        public = MLDSA44PublicKey.from_public_bytes(key)
    except (ImportError, UnsupportedAlgorithm) as error:
        raise missing_ml_dsa(error) from error
    except ValueError:
        return False
    try:
        public.verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


SIGNATURE_TYPES = {
    ED25519: SignatureType("Ed25519", 32, 64, False, _plain_message, check_public_key, _is_valid_ed25519),
    COSIGNATURE_ED25519: SignatureType(
        "Ed25519 cosignature/v1", 32, 64, True, _cosignature_message, check_public_key, _is_valid_ed25519
    ),
    COSIGNATURE_ML_DSA_44: SignatureType(
        "ML-DSA-44 cosignature", 1312, 2420, True, _subtree_message, _check_ml_dsa_key, _is_valid_ml_dsa
    ),
}
"""The types by their byte."""
