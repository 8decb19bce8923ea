"""An Ed25519 key in a PKCS#11 token: a hardware module, a smart card or SoftHSM (PKCS #11 v3.0, mechanism CKM_EDDSA)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.keys import read_private
from guardrails.ledger.note import Signer, Verifier
from guardrails.ledger.signers.checked import CheckedSigner, Turn
from guardrails.ledger.signers.passphrases import PIN_VARIABLE
from guardrails.ledger.signers.pkcs11_uri import Pkcs11Uri

if TYPE_CHECKING:
    import pkcs11

    from guardrails.ledger.signers.loading import Request

__all__ = ["load_token_signer"]

_OCTET_STRING_32 = b"\x04\x20"


def load_token_signer(request: Request) -> Signer:
    """Logs in to the token and returns a signer for the key that the URI names.

    Raises:
        UsageError: python-pkcs11 is not installed (usage.extra_missing), or the URI is not understood (usage.signer_unknown).
        LedgerError: The token, its key pair or the PIN is missing (ledger.key_missing), or the token does not answer or sign as it must
            (ledger.signer_failed).
    """
    try:
        import pkcs11
    except ImportError as error:
        raise UsageError(
            "usage.extra_missing", "Keys in PKCS#11 tokens need python-pkcs11.", hint="Install guardrails-sql[pkcs11]."
        ) from error
    uri = Pkcs11Uri.parse(request.uri, request.secrets.environment)
    name = request.required_name()
    pin = read_private(Path(uri.pin_source)).strip() if uri.pin_source else request.secrets.get(PIN_VARIABLE, f"PIN of {uri}")
    turn: Turn[tuple[bytes, pkcs11.SignMixin]] = Turn(str(uri), request.timeout_s)
    public_key, private_key = turn.run(lambda: _open(uri, pin))
    mechanism = pkcs11.Mechanism.EDDSA

    def sign(message: bytes) -> bytes:
        return bytes(private_key.sign(message, mechanism=mechanism))

    return CheckedSigner(Verifier(name, public_key), sign, label=str(uri), timeout_s=request.timeout_s)


def _open(uri: Pkcs11Uri, pin: str) -> tuple[bytes, pkcs11.SignMixin]:
    import pkcs11
    from pkcs11.exceptions import PKCS11Error

    try:
        session = _session(_token(uri), pin)
        private_key, public_key = (
            session.get_key(object_class=kind, key_type=pkcs11.KeyType.EC_EDWARDS, label=uri.label, id=uri.key_id)
            for kind in (pkcs11.ObjectClass.PRIVATE_KEY, pkcs11.ObjectClass.PUBLIC_KEY)
        )
        point = bytes(public_key[pkcs11.Attribute.EC_POINT])
    except (pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned) as error:
        raise LedgerError("ledger.key_missing", f"{uri} does not name exactly one Ed25519 key pair in the token.") from error
    except PKCS11Error as error:
        cause = type(error).__name__
        raise LedgerError("ledger.signer_failed", f"The token of {uri} refused: {cause}.", evidence={"cause": cause}) from error
    if not isinstance(private_key, pkcs11.SignMixin):
        raise LedgerError("ledger.signer_failed", f"The key of {uri} may not sign.")
    if len(point) == 34 and point.startswith(_OCTET_STRING_32):  # PKCS #11 v3.0; some modules leave the DER away
        point = point[2:]
    return point, private_key


def _token(uri: Pkcs11Uri) -> pkcs11.Token:
    import pkcs11

    tokens = []
    for slot in pkcs11.lib(uri.module_path).get_slots(token_present=True):
        if uri.slot_id is not None and slot.slot_id != uri.slot_id:
            continue
        token = slot.get_token()
        facts = {
            "token": token.label,
            "manufacturer": token.manufacturer_id,
            "model": token.model,
            "serial": token.serial.decode("utf-8", "replace"),
        }
        if all(facts[name].strip() == value for name, value in uri.token.items()):
            tokens.append(token)
    if len(tokens) != 1:
        raise LedgerError("ledger.key_missing", f"{uri} matches {len(tokens)} tokens; it must match one.")
    return tokens[0]


def _session(token: pkcs11.Token, pin: str) -> pkcs11.Session:
    from pkcs11.exceptions import UserAlreadyLoggedIn

    try:
        return token.open(user_pin=pin)
    except UserAlreadyLoggedIn:  # a login holds for the whole process, as when the old and the new key are in one token
        return token.open()
