"""An Ed25519 key in HashiCorp Vault's or OpenBao's transit engine, by way of securesystemslib's signer for it.

Address and credentials are those that its client, hvac, finds (VAULT_ADDR, VAULT_TOKEN).
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.note import Signer, Verifier
from guardrails.ledger.signers.checked import CheckedSigner, Turn

if TYPE_CHECKING:
    from securesystemslib.signer import VaultSigner

    from guardrails.ledger.signers.loading import Request

__all__ = ["load_vault_signer"]

_FORM = re.compile(r"([^/?#]+)/([1-9][0-9]*)", re.ASCII)


def load_vault_signer(request: Request) -> Signer:
    """Asks Vault for the public key and returns a signer for it.

    Raises:
        UsageError: A package is not installed (usage.extra_missing), or the URI is not hv:KEY/VERSION (usage.signer_unknown).
        LedgerError: There is no such version (ledger.key_missing), Vault does not answer, or the key gives no Ed25519 signatures
            (ledger.signer_failed).
    """
    match = _FORM.fullmatch(request.rest)
    if match is None:
        raise UsageError("usage.signer_unknown", f"{request.uri} is not of the form hv:KEY/VERSION, such as hv:ledger/1.")
    try:
        import hvac  # noqa: F401 - securesystemslib would report its absence only later
        import securesystemslib.signer  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "usage.extra_missing", "Keys in Vault need securesystemslib and hvac.", hint="Install guardrails-sql[vault]."
        ) from error
    name = request.required_name()
    key_name, version = match.groups()
    turn: Turn[tuple[bytes, VaultSigner]] = Turn(request.uri, request.timeout_s)
    public_key, vault = turn.run(lambda: _open(request, key_name, version))
    return CheckedSigner(
        Verifier(name, public_key),
        lambda message: bytes.fromhex(vault.sign(message).signature),
        label=request.uri,
        timeout_s=request.timeout_s,
    )


def _open(request: Request, key_name: str, version: str) -> tuple[bytes, VaultSigner]:
    import hvac
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import SSlibKey, VaultSigner

    # Not VaultSigner.import_: it knows only the newest version, and in a rotation the old one signs as well.
    answer = hvac.Client(timeout=request.timeout_s).secrets.transit.read_key(key_name)["data"]
    if answer.get("type") != "ed25519":
        kind = str(answer.get("type"))
        raise LedgerError("ledger.signer_failed", f"The key {request.uri} is not an Ed25519 key.", evidence={"kind": kind})
    if version not in answer["keys"]:
        raise LedgerError("ledger.key_missing", f"Vault has no such version of the key {request.uri}.")
    try:
        public_key = b64decode(answer["keys"][version]["public_key"], validate=True)
    except Base64Error as error:
        raise LedgerError("ledger.signer_failed", f"Vault returned no public key for {request.uri}.") from error
    return public_key, VaultSigner(key_name, SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(public_key)), int(version))
