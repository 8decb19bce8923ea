"""An agent shows which one it is: by an Ed25519 key of its own, whose signature over a session's facts stands in `key.bind`.

The key lives where the ledger's may: a file, a passphrase's file, an environment variable, a token, a key service. What is signed
names the session and its public key, so a proof that was copied serves nobody who lacks that session's private key.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guardrails.errors import IdentityError, LedgerError
from guardrails.ledger.entry import encode
from guardrails.ledger.keys import Ed25519Signer, create_key
from guardrails.ledger.note import Verifier, base64_text, check_name, strict_base64
from guardrails.ledger.signers.encrypted import create_encrypted_key
from guardrails.ledger.signers.loading import load_signer
from guardrails.ledger.signers.passphrases import PASSPHRASE_VARIABLE as _LEDGER_PASSPHRASE

__all__ = ["PASSPHRASE_VARIABLE", "PROOF_CONTEXT", "AgentKey", "ProofSigner", "fingerprint", "proven_key"]

PASSPHRASE_VARIABLE = "GUARDRAILS_AGENT_PASSPHRASE"  # noqa: S105 - the name of a variable
PROOF_CONTEXT = b"guardrails agent proof v1\n"
"""What is signed begins with this line, so that no signature made for another purpose counts."""

_PROVEN = ("agent", "conversation", "delegation", "key", "policy", "principal", "purpose", "session")
"""The fields of `key.bind` that an agent signs."""


class ProofSigner(Protocol):
    """What holds an agent's key; as `guardrails.ledger.note.Signer`."""

    def verifier(self) -> Verifier: ...

    def sign(self, message: bytes) -> bytes: ...


class AgentKey:
    """The key of one agent. Its name is the agent's.

    Args:
        signer: What holds it.

    Example:
        >>> key = AgentKey.generate("refund-bot")
        >>> key.name, key.public_text.startswith("refund-bot+")
        ('refund-bot', True)
    """

    __slots__ = ("_signer", "fingerprint", "name", "public_key", "public_text")

    def __init__(self, signer: ProofSigner) -> None:
        verifier = signer.verifier()
        self._signer = signer
        self.name = verifier.name
        self.public_key = verifier.public_key
        self.public_text = str(verifier)
        self.fingerprint = fingerprint(verifier.public_key)

    def __repr__(self) -> str:
        return f"AgentKey({self.name!r}, {self.fingerprint!r})"

    @classmethod
    def generate(cls, name: str) -> AgentKey:
        """Returns a new key that is kept nowhere.

        Raises:
            IdentityError: The name has blanks or a plus sign (identity.agent_key_invalid).
        """
        return _opened(lambda: cls(Ed25519Signer.generate(_named(name))))

    @classmethod
    def create(cls, path: str | Path, name: str, *, passphrase: str | None = None) -> AgentKey:
        """Makes a new key and stores it in a file of mode 0600, encrypted where a passphrase of 12 characters or more is given.

        Raises:
            IdentityError: There is such a file already, it cannot be written, or name or passphrase will not do
                (identity.agent_key_invalid).
        """
        place = Path(path)
        if place.exists():
            raise IdentityError("identity.agent_key_invalid", f"There is a file {place.name} already.")
        if passphrase is None:
            return _opened(lambda: cls(create_key(place, _named(name))))
        return _opened(lambda: cls(create_encrypted_key(place, _named(name), passphrase)))

    @classmethod
    def load(
        cls, where: str | Path, *, ask: Callable[[str], str] | None = None, environment: Mapping[str, str] | None = None
    ) -> AgentKey:
        """Opens a key.

        Args:
            where: A file, or a URI as `guardrails.ledger.signers.load_signer` takes it: ``encrypted:/path``, ``env:NAME``, …
            ask: Asked for the passphrase, where GUARDRAILS_AGENT_PASSPHRASE is not set.
            environment: Environment variables; this process's if left out.

        Raises:
            IdentityError: It cannot be opened (identity.agent_key_invalid).
            UsageError: The URI is not understood, or an extra is not installed.
        """
        variables = dict(os.environ if environment is None else environment)
        # The passphrase of the ledger's key is another's secret.
        variables[_LEDGER_PASSPHRASE] = variables.get(PASSPHRASE_VARIABLE, "")
        uri = str(where) if isinstance(where, str) and ":" in where else f"file:{where}"
        return _opened(lambda: cls(load_signer(uri, ask=ask, environment=variables)))

    def prove(self, binding: Mapping[str, object]) -> dict[str, object]:
        """Returns the field `proof` for the `key.bind` entry of a session, whose other fields are `binding`."""
        signature = self._signer.sign(_message(binding))
        return {"algorithm": "ed25519", "public": base64_text(self.public_key), "signature": base64_text(signature)}


def fingerprint(public_key: bytes) -> str:
    """Returns the JWK thumbprint (RFC 7638) of an Ed25519 public key, as tokens that are bound to it name it (``cnf.jkt``)."""
    point = urlsafe_b64encode(public_key).rstrip(b"=").decode()
    digest = sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{point}"}}'.encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def proven_key(entry: Mapping[str, object]) -> bytes | None:
    """Returns the public key with which an agent has signed a `key.bind` entry, None when the entry names no agent's key.

    Raises:
        IdentityError: The entry names a key, and there is no proof of it that holds, or the reverse (identity.agent_unproven).
    """
    agent, proof = entry.get("agent"), entry.get("proof")
    named = agent.get("key") if isinstance(agent, dict) else None
    if named is None and proof is None:
        return None
    if not isinstance(proof, dict) or proof.keys() != {"algorithm", "public", "signature"} or proof["algorithm"] != "ed25519":
        raise _unproven("There is no proof of the agent's key.")
    try:
        public, signature = strict_base64(proof["public"]), strict_base64(proof["signature"])
        Verifier("agent", public)  # refuses keys under which anybody could sign
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _message(entry))
    except (LedgerError, InvalidSignature, ValueError, TypeError, AttributeError) as error:
        raise _unproven("The proof of the agent's key does not hold.") from error
    if fingerprint(public) != named:
        raise _unproven("The proof is of another key than the entry names.")
    return public


def _message(binding: Mapping[str, object]) -> bytes:
    return PROOF_CONTEXT + encode({name: binding[name] for name in _PROVEN if name in binding})


def _named(name: str) -> str:
    check_name(name)
    return name


def _opened(make: Callable[[], AgentKey]) -> AgentKey:
    try:
        return make()
    except LedgerError as error:
        hint = f"Set {PASSPHRASE_VARIABLE} for a key with a passphrase." if error.code == "ledger.key_missing" else ""
        raise IdentityError("identity.agent_key_invalid", error.message, hint=hint, evidence={"cause": error.code}) from error


def _unproven(message: str) -> IdentityError:
    return IdentityError("identity.agent_unproven", message)
