"""The key of one keyed mask, derived from the mask key (RFC 5869 calls the step expand), and the names under which it is bound.

Masks of one kind share a key, so that equal values have equal tokens in every table. With the option `per`, they share one for each
value of the principal's attribute of that name: a token of one tenant means nothing to another, nor beside the tokens of others.
"""

from __future__ import annotations

import hashlib

from guardrails.masking.kinds import PER, SUBJECT, Options
from guardrails.masking.values import subkey

__all__ = ["derived_key", "hmac_blocks", "key_name"]

_BLOCK_BYTES = 64


def derived_key(key: bytes, kind: str, options: Options) -> bytes:
    """Returns the key of a kind of mask, 32 bytes; with `per`, of the one whose attribute the options hold as ``subject``."""
    if PER not in options:
        return subkey(key, kind)
    # No kind and no attribute's name has a NUL in it, so that different parts never make the same text.
    return subkey(key, f"{kind}\0{options[PER]}\0{options[SUBJECT]}")


def key_name(kind: str, options: Options) -> str:
    """Returns what the names of the key's bound values begin with: another one for each `per`, whatever characters that has.

    Example:
        >>> key_name("hash", {}), key_name("hash", {"per": "tenant"})
        ('mask_hash', 'mask_hash_5f33dcdf95ab')
    """
    if PER not in options:
        return f"mask_{kind}"
    return f"mask_{kind}_{hashlib.sha256(str(options[PER]).encode()).hexdigest()[:12]}"


def hmac_blocks(key: bytes, kind: str, options: Options) -> dict[str, bytes]:
    """Returns the two blocks of HMAC-SHA256 (RFC 2104) by the names under which they are bound."""
    padded = derived_key(key, kind, options).ljust(_BLOCK_BYTES, b"\0")
    name = key_name(kind, options)
    return {f"{name}_inner": bytes(b ^ 0x36 for b in padded), f"{name}_outer": bytes(b ^ 0x5C for b in padded)}
