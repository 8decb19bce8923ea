"""PKCS#11 URIs (RFC 7512), as far as they name one private key and the module that reaches it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from guardrails.errors import UsageError

__all__ = ["MODULE_VARIABLE", "Pkcs11Uri"]

MODULE_VARIABLE = "GUARDRAILS_PKCS11_MODULE"
_TOKEN = ("token", "manufacturer", "model", "serial")
_PATH = frozenset(_TOKEN) | {"object", "id", "type", "slot-id"}
_QUERY = frozenset({"module-path", "pin-source"})
_ESCAPED = re.compile(r"(?:%[0-9A-Fa-f]{2}|[^%])*")


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """One private key in a token.

    Args:
        token: What the token must match, by the attribute's name in RFC 7512: token, manufacturer, model, serial.
        slot_id: Number of the slot; None for any.
        label: CKA_LABEL of the key (attribute ``object``); None for any.
        key_id: CKA_ID of the key (attribute ``id``); None for any.
        module_path: The PKCS#11 module, a shared library.
        pin_source: Path of a file with the PIN, which only its owner may read; empty for none.
    """

    token: Mapping[str, str]
    slot_id: int | None
    label: str | None
    key_id: bytes | None
    module_path: str = field(repr=False)
    pin_source: str = ""

    def __str__(self) -> str:
        """Returns a label for messages: the token and the key, without module and PIN source."""
        parts = [f"{name}={value}" for name, value in self.token.items()]
        parts += [f"slot-id={self.slot_id}"] if self.slot_id is not None else []
        parts += [f"object={self.label}"] if self.label is not None else []
        parts += [f"id={self.key_id.hex()}"] if self.key_id is not None else []
        return "pkcs11:" + ";".join(parts)

    @classmethod
    def parse(cls, uri: str, environment: Mapping[str, str]) -> Pkcs11Uri:
        """Reads a URI; attributes that are not understood are refused, since ignoring one could pick another key.

        Args:
            uri: The URI, with its scheme.
            environment: Names the module (GUARDRAILS_PKCS11_MODULE) when the URI does not.

        Raises:
            UsageError: It is malformed, holds a PIN, or names no key or no module (usage.signer_unknown).
        """
        path_text, _, query_text = uri.removeprefix("pkcs11:").partition("?")
        if "pin-value=" in query_text:
            raise _refused("a PIN does not belong in a URI; set GUARDRAILS_LEDGER_PIN or name a pin-source")
        path = _attributes(path_text, ";", _PATH)
        query = _attributes(query_text, "&", _QUERY)
        if path.get("type", b"private") != b"private":
            raise _refused("only type=private can sign")
        slot = path.get("slot-id")
        if slot is not None and re.fullmatch(rb"0|[1-9][0-9]{0,18}", slot) is None:
            raise _refused("slot-id is not a number")
        if "object" not in path and "id" not in path:
            raise _refused("it names no key; give object= or id=")
        module = _text(query.get("module-path", b"")) or environment.get(MODULE_VARIABLE, "")
        if not module:
            raise _refused(f"it names no module; give ?module-path= or set {MODULE_VARIABLE}")
        return cls(
            token={name: _text(path[name]) for name in _TOKEN if name in path},
            slot_id=None if slot is None else int(slot),
            label=_text(path["object"]) if "object" in path else None,
            key_id=path.get("id"),
            module_path=module,
            pin_source=_text(query.get("pin-source", b"")).removeprefix("file:"),
        )


def _attributes(text: str, separator: str, known: frozenset[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if not equals or name not in known:
            raise _refused(f"the attribute {name} is not understood")
        if name in found:
            raise _refused(f"the attribute {name} stands twice")
        if _ESCAPED.fullmatch(value) is None:
            raise _refused(f"the attribute {name} is wrongly percent-encoded")
        found[name] = unquote_to_bytes(value)
    return found


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused("an attribute is not UTF-8") from error


def _refused(why: str) -> UsageError:
    return UsageError("usage.signer_unknown", f"The pkcs11: URI is refused: {why}.", hint="See RFC 7512 and docs/keys.md.")
