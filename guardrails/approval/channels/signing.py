"""Signatures of webhooks, so that a receiver knows who sent them (Standard Webhooks 1.0, symmetric: HMAC-SHA-256, version ``v1``).

What is signed is the id, the time and the body, joined with full stops. A receiver refuses what is older than a few minutes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from guardrails.errors import UsageError

__all__ = ["WebhookSigner", "new_webhook_secret"]

_PREFIX = "whsec_"
_FEWEST_BYTES, _MOST_BYTES = 24, 64
"""As the standard bounds secrets."""


class WebhookSigner:
    """Signs with every secret it has: while a secret is changed, a receiver finds the signature of the one that it knows.

    Args:
        keys: ``whsec_`` and base64, as `new_webhook_secret` makes them; the newest first.

    Raises:
        UsageError: There is none, or one is of another form (usage.input_invalid).
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise UsageError("usage.input_invalid", "A webhook needs a secret to sign with.")
        self._keys = [_parsed(key) for key in keys]

    def headers(self, message_id: str, at: int, body: bytes) -> dict[str, str]:
        """Returns the three headers of a message that is sent at `at` (Unix seconds)."""
        signed = f"{message_id}.{at}.".encode() + body
        signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in self._keys)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(at),
            "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
        }

    def __repr__(self) -> str:
        return f"WebhookSigner({len(self._keys)} secrets)"


def new_webhook_secret() -> str:
    """Returns a fresh secret to share with a receiver."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _parsed(key: str) -> bytes:
    try:
        parsed = base64.b64decode(key.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        parsed = b""
    if not key.startswith(_PREFIX) or not _FEWEST_BYTES <= len(parsed) <= _MOST_BYTES:
        form = f"A webhook's secret is {_PREFIX} and {_FEWEST_BYTES} to {_MOST_BYTES} bytes in base64."
        raise UsageError("usage.input_invalid", form)
    return parsed
