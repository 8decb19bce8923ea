"""Keys in services that securesystemslib's signers reach; of these, HashiCorp Vault's transit engine signs with Ed25519.

securesystemslib's signers for Google, Azure and PIV tokens speak ECDSA and RSA only. They are tried all the same, so that a later release
that learns Ed25519 works at once; until then the key's kind is named in the refusal.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.note import Signer, Verifier
from guardrails.ledger.signers.checked import CheckedSigner, Turn

if TYPE_CHECKING:
    from securesystemslib.signer import Signer as ServiceSigner

    from guardrails.ledger.signers.loading import Request

__all__ = ["load_service_signer"]

_EXTRAS = {"hv": "vault", "gcpkms": "gcpkms", "azurekms": "azurekms", "hsm": "pkcs11"}


def load_service_signer(request: Request) -> Signer:
    """Asks the service for the public key and returns a signer for it. Credentials are those of the service's own client.

    Raises:
        UsageError: A package is not installed (usage.extra_missing), or the URI is not of the service's form (usage.signer_unknown).
        LedgerError: The service does not answer, or the key gives no Ed25519 signatures (ledger.signer_failed).
    """
    scheme = request.uri.partition(":")[0]
    try:
        import securesystemslib.signer  # noqa: F401
        from securesystemslib.exceptions import UnsupportedLibraryError
    except ImportError as error:
        raise _missing(scheme) from error
    name = request.required_name()
    open_it = _open_vault if scheme == "hv" else _open_other
    turn: Turn[tuple[bytes, ServiceSigner]] = Turn(request.uri, request.timeout_s)
    try:
        public_key, service = turn.run(lambda: open_it(request))
    except LedgerError as error:
        if isinstance(error.__cause__, UnsupportedLibraryError | ImportError):
            raise _missing(scheme) from error
        raise
    return CheckedSigner(
        Verifier(name, public_key),
        lambda message: bytes.fromhex(service.sign(message).signature),
        label=request.uri,
        timeout_s=request.timeout_s,
    )


def _open_vault(request: Request) -> tuple[bytes, ServiceSigner]:
    import hvac
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import SSlibKey, VaultSigner

    key_name, _, version = request.rest.partition("/")
    if not key_name or "/" in version or not version.isascii() or not version.isdigit() or version.startswith("0"):
        raise UsageError("usage.signer_unknown", f"{request.uri} is not of the form hv:KEY/VERSION, such as hv:ledger/1.")
    # Not VaultSigner.import_: it knows only the newest version, and in a rotation the old one signs as well.
    answer = hvac.Client(timeout=request.timeout_s).secrets.transit.read_key(key_name)["data"]
    if answer.get("type") != "ed25519":
        raise _wrong_kind(request, str(answer.get("type")))
    if version not in answer["keys"]:
        raise LedgerError("ledger.key_missing", f"{request.uri}: Vault has no such version of the key.")
    try:
        public_key = b64decode(answer["keys"][version]["public_key"], validate=True)
    except Base64Error as error:
        raise LedgerError("ledger.signer_failed", f"{request.uri}: Vault returned no public key.") from error
    key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(public_key))
    return public_key, VaultSigner(key_name, key, int(version))


def _open_other(request: Request) -> tuple[bytes, ServiceSigner]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.exceptions import UnsupportedAlgorithmError
    from securesystemslib.signer import KEY_TYPE_ED25519, SIGNER_FOR_URI_SCHEME, SSlibKey
    from securesystemslib.signer import Signer as ServiceSigner

    scheme = request.uri.partition(":")[0]
    try:
        uri, key = SIGNER_FOR_URI_SCHEME[scheme].import_(request.rest)  # type: ignore[attr-defined]  # every signer has it
    except UnsupportedAlgorithmError as error:
        raise _wrong_kind(request, str(error)) from error
    if not isinstance(key, SSlibKey) or key.keytype != KEY_TYPE_ED25519:
        raise _wrong_kind(request, str(getattr(key, "keytype", "unknown")))
    public_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"])).public_bytes_raw()
    return public_key, ServiceSigner.from_priv_key_uri(uri, key)


def _wrong_kind(request: Request, kind: str) -> LedgerError:
    return LedgerError(
        "ledger.signer_failed",
        f"The key {request.uri} is not one that gives Ed25519 signatures here.",
        hint="Use an Ed25519 key in a PKCS#11 token, HashiCorp Vault or AWS KMS, or an encrypted file; see docs/keys.md.",
        evidence={"kind": kind},
    )


def _missing(scheme: str) -> UsageError:
    extra = _EXTRAS[scheme]
    return UsageError(
        "usage.extra_missing", f"Keys of {scheme}: need the extra {extra}.", hint=f"Install guardrails-sql[{extra}]."
    )
