"""The key of a log's second signature line, which a quantum computer cannot forge, in a file: ML-DSA-44 (FIPS 204).

Such a line is a cosignature of type 0x06 (C2SP tlog-cosignature) in the log's own name; `guardrails.ledger.cosignature` makes it.
"""

from __future__ import annotations

from pathlib import Path

from guardrails.errors import LedgerError
from guardrails.ledger.cosignature import Cosigner
from guardrails.ledger.keys import read_private, write_private
from guardrails.ledger.signature_types import COSIGNATURE_ML_DSA_44

__all__ = ["create_ml_dsa_key", "load_ml_dsa_key"]


def create_ml_dsa_key(path: Path, name: str) -> Cosigner:
    """Makes a new key and stores it durably, as text, in a file of mode 0600. The caller excludes others meanwhile.

    Args:
        path: The file.
        name: Key name: the log's origin.

    Raises:
        UsageError: The installed `cryptography` has no ML-DSA-44 (usage.extra_missing).
        LedgerError: The file cannot be written (ledger.unavailable).
    """
    signer = Cosigner.generate(name, COSIGNATURE_ML_DSA_44)
    write_private(path, signer.secret_text() + "\n", mode=0o600)
    return signer


def load_ml_dsa_key(path: Path) -> Cosigner:
    """Reads a key from its file.

    Raises:
        LedgerError: There is no such file (ledger.key_missing), others may read it (ledger.unavailable), or it is malformed or of
            another type (ledger.note_invalid).
        UsageError: The installed `cryptography` has no ML-DSA-44 (usage.extra_missing).
    """
    signer = Cosigner.parse(read_private(path).removesuffix("\n"))
    if signer.verifier().signature_type != COSIGNATURE_ML_DSA_44:
        raise LedgerError("ledger.note_invalid", f"The signing key {path.name} is not an ML-DSA-44 key.")
    return signer
