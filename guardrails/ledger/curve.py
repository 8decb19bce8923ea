"""Which 32 bytes may be trusted as an Ed25519 public key (RFC 8032, sections 5.1.2 to 5.1.5).

RFC 8032 decodes points of small order like any other, and under such a key anybody can make "signatures": S = 0 and a point of small
order satisfy the verification equation for one message in eight or fewer, without a private key (Chalkias, Garillot, Nikolaenko:
Taming the many EdDSAs, 2020). An honest key is never one of them, so a trusted key is held to be a canonical encoding of a point
of the curve that is not of small order.
"""

from __future__ import annotations

from guardrails.ledger.text import note_error

__all__ = ["check_public_key"]

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ORDER_8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
"""The y coordinate of four points of order 8; its negative is that of the other four."""
_SMALL_ORDER = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})
"""The y coordinates of the eight points whose order divides 8."""


def check_public_key(public_key: bytes) -> None:
    """Refuses bytes that are no Ed25519 public key that a person could have made.

    Keys with an added component of small order are not looked for: their owner alone could make signatures with them that some
    verifiers accept and others refuse, and nobody else gains anything.

    Raises:
        LedgerError: They are not 32 bytes, not canonical, not a point of the curve, or a point of small order under which
            signatures can be forged (ledger.note_invalid).
    """
    if len(public_key) != 32:
        raise note_error("An Ed25519 public key has 32 bytes.")
    y = int.from_bytes(public_key, "little") & (2**255 - 1)
    if y >= _P:
        raise note_error("The public key is not canonical; a lenient reader could take it for a point of small order.")
    if y in _SMALL_ORDER:
        raise note_error("The public key is a point of small order, under which anybody can forge signatures.")
    squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(squared, (_P - 1) // 2, _P) != 1:
        raise note_error("The public key is not a point of the curve.")
