"""The seal on what was set up: the types of the principal's values, and an HMAC-SHA256 (RFC 2104) over all that the engine told of it.

It is a comment on the object. Whoever changes the object, or puts another in its place, cannot write the seal without the mask key.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from guardrails.masking.values import subkey
from guardrails.model import PlacedColumn, PlacedView

__all__ = ["Seal", "seal_key", "seal_of"]

_VERSION = 1
_ABOUT = "Set up by `guardrails policy install`; a change makes the guard do without it."


@dataclass(frozen=True, slots=True)
class Seal:
    """What the comment says: `types` of the principal's values in a view, and the code (hexadecimal)."""

    types: tuple[str, ...]
    code: str

    @classmethod
    def parse(cls, comment: str) -> Seal | None:
        """Reads a comment; None when it is no seal of this version."""
        try:
            fields = json.loads(comment)
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict) or fields.get("guardrails") != _VERSION:
            return None
        types, code = fields.get("types"), fields.get("seal")
        if not isinstance(types, list) or not all(isinstance(t, str) for t in types) or not isinstance(code, str):
            return None
        return cls(tuple(types), code) if code.isascii() else None

    def comment(self) -> str:
        """Returns the text to write on the object."""
        return json.dumps({"guardrails": _VERSION, "about": _ABOUT, "types": list(self.types), "seal": self.code})

    def fits(self, other: Seal) -> bool:
        """Whether both are the same; takes the same time wherever they differ."""
        return self.types == other.types and hmac.compare_digest(self.code, other.code)


def seal_key(mask_key: bytes) -> bytes:
    """Returns the key for seals, which is derived from the mask key."""
    return subkey(mask_key, "install")


def seal_of(placed: PlacedView | PlacedColumn, wanted: str, types: Sequence[str], key: bytes) -> Seal:
    """Returns the seal of a view or a column as the engine describes it.

    Args:
        placed: As read from the database.
        wanted: The query or the expression that it was made of.
        types: Of the principal's values in it.
        key: From `seal_key`.
    """
    told: list[object] = [_VERSION, placed.base, placed.name, wanted, placed.definition, placed.stored, placed.is_plain]
    told += ["view", placed.columns, placed.owner] if isinstance(placed, PlacedView) else ["column", placed.type]
    text = json.dumps([*told, list(types)], ensure_ascii=True)
    return Seal(tuple(types), hmac.digest(key, text.encode(), "sha256").hex())
