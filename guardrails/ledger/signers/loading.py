"""From a URI to a signer: one string says where the log's key is, so that it fits a command line, a setting or a policy file.

A URI never holds a secret. The key name (the log's origin) stands in key files; other keepers know none, so the caller gives it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from guardrails.errors import UsageError
from guardrails.ledger.keys import Ed25519Signer, load_key
from guardrails.ledger.note import Signer, check_name
from guardrails.ledger.signers.encrypted import load_encrypted_key
from guardrails.ledger.signers.passphrases import PASSPHRASE_VARIABLE, AskSecret, Secrets

__all__ = ["SCHEMES", "Request", "load_signer"]

SCHEMES: Mapping[str, str] = {
    "file": "file:/path/to/key",
    "encrypted": "encrypted:/path/to/key",
    "env": "env:VARIABLE",
    "pkcs11": "pkcs11:token=…;object=…?module-path=/path/to/module.so",
    "hv": "hv:KEY/VERSION (HashiCorp Vault transit)",
    "awskms": "awskms:KEY-ID",
    "gcpkms": "gcpkms:projects/…/cryptoKeyVersions/N",
}
"""The known schemes, each with its form."""

_WITHOUT_ED25519: Mapping[str, str] = {
    "azurekms": "Azure Key Vault has no Ed25519 keys",
    "hsm": "securesystemslib's signer for tokens speaks ECDSA only; use pkcs11:",
}
"""Schemes of securesystemslib under which no Ed25519 signature is to be had, and why."""


@dataclass(frozen=True, slots=True)
class Request:
    """A URI taken apart, with what opening it needs.

    Args:
        uri: The whole URI.
        rest: What follows the scheme and its colon.
        name: Key name asked for; None where the key's own is meant.
        secrets: Where passphrases and PINs come from.
        timeout_s: Most seconds for one call to a token or service.
    """

    uri: str
    rest: str
    name: str | None
    secrets: Secrets
    timeout_s: float

    def required_name(self) -> str:
        """Returns the key name.

        Raises:
            UsageError: The caller gave none (usage.input_invalid).
        """
        if self.name is None:
            raise UsageError("usage.input_invalid", f"A key name is needed with {self.uri}: the keeper of this key knows none.")
        check_name(self.name)
        return self.name


def load_signer(
    uri: str,
    *,
    name: str | None = None,
    ask: AskSecret | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
) -> Signer:
    """Returns the signer whose key a URI names.

    Keys in tokens and services sign a test text before this returns, and each later signature is verified before it is handed on.

    Args:
        uri: In one of the forms of `SCHEMES`.
        name: Key name, which is the origin of the log. Needed for tokens and services; for others, refused if it is not the key's.
        ask: Asked for a passphrase or PIN that no environment variable holds.
        environment: Environment variables; this process's if left out.
        timeout_s: Most seconds for one call to a token or service.

    Raises:
        UsageError: The URI is not understood (usage.signer_unknown), an extra is not installed (usage.extra_missing), or the name is
            missing or another (usage.input_invalid).
        LedgerError: The key is missing (ledger.key_missing), malformed (ledger.note_invalid), readable by others (ledger.unavailable),
            or does not give Ed25519 signatures that hold (ledger.signer_failed).

    Example:
        >>> from guardrails.ledger.keys import Ed25519Signer
        >>> key = Ed25519Signer.generate("example.com/log").secret_text()
        >>> load_signer("env:LOG_KEY", environment={"LOG_KEY": key})
        Ed25519Signer('example.com/log')
    """
    scheme, colon, rest = uri.partition(":")
    if scheme in _WITHOUT_ED25519:
        raise UsageError("usage.signer_unknown", f"A {scheme}: key cannot sign a ledger: {_WITHOUT_ED25519[scheme]}.")
    if not colon or scheme not in SCHEMES:
        forms = "; ".join(SCHEMES.values())
        shown = f"{scheme}:" if colon else "a URI without a scheme"
        raise UsageError("usage.signer_unknown", f"No signer is known for {shown}", hint=f"Known forms: {forms}.")
    variables = os.environ if environment is None else environment
    request = Request(uri, rest, name, Secrets(variables, ask), timeout_s)
    loaders: dict[str, Callable[[Request], Signer]] = {
        "file": _file,
        "encrypted": _encrypted,
        "env": _environment,
        "pkcs11": _token,
        "hv": _vault,
        "awskms": _aws,
        "gcpkms": _gcp,
    }
    signer = loaders[scheme](request)
    if name is not None and signer.verifier().name != name:
        raise UsageError("usage.input_invalid", f"The key is named {signer.verifier().name}, not {name}.")
    return signer


def _file(request: Request) -> Signer:
    return load_key(_path(request))


def _encrypted(request: Request) -> Signer:
    path = _path(request)
    return load_encrypted_key(path, request.secrets.get(PASSPHRASE_VARIABLE, f"passphrase of {path.name}"))


def _environment(request: Request) -> Signer:
    text = request.secrets.environment.get(request.rest, "")
    if not text:
        # The name is not repeated: whoever confuses the forms may have written the key itself here.
        raise UsageError("usage.input_invalid", "The environment variable that should hold the signing key is not set.")
    return Ed25519Signer.parse(text.removesuffix("\n"))


def _token(request: Request) -> Signer:
    from guardrails.ledger.signers.token import load_token_signer

    return load_token_signer(request)


def _vault(request: Request) -> Signer:
    from guardrails.ledger.signers.vault import load_vault_signer

    return load_vault_signer(request)


def _aws(request: Request) -> Signer:
    from guardrails.ledger.signers.aws import load_aws_signer

    return load_aws_signer(request)


def _gcp(request: Request) -> Signer:
    from guardrails.ledger.signers.gcp import load_gcp_signer

    return load_gcp_signer(request)


def _path(request: Request) -> Path:
    # file:///path and file://localhost/path are RFC 8089's, file:path is the short form.
    rest = request.rest.removeprefix("//localhost") if request.rest.startswith("//localhost/") else request.rest
    if rest.startswith("//"):
        rest = rest.removeprefix("//")
        if not rest.startswith("/"):
            raise UsageError("usage.signer_unknown", f"{request.uri} names another host.", hint="Write file:/path.")
    if not rest:
        raise UsageError("usage.signer_unknown", f"{request.uri} names no file.")
    return Path(rest)
