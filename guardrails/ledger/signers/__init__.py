"""Where a log's signing key may live: files, the environment, hardware tokens and key services."""

from guardrails.ledger.signers.checked import CheckedSigner
from guardrails.ledger.signers.encrypted import create_encrypted_key, load_encrypted_key
from guardrails.ledger.signers.loading import SCHEMES, load_signer
from guardrails.ledger.signers.mldsa import create_ml_dsa_key, load_ml_dsa_key
from guardrails.ledger.signers.passphrases import AskSecret

__all__ = [
    "SCHEMES",
    "AskSecret",
    "CheckedSigner",
    "create_encrypted_key",
    "create_ml_dsa_key",
    "load_encrypted_key",
    "load_ml_dsa_key",
    "load_signer",
]
