"""What a file of a published log is, in HTTP headers: the same for our server and for object stores that serve themselves."""

from __future__ import annotations

from guardrails.ledger.tiles import CHECKPOINT_PATH

__all__ = ["cache_control", "content_type"]

_YEAR_S = 31_536_000


def content_type(path: str) -> str:
    """Returns the media type that C2SP tlog-tiles asks for."""
    return "text/plain; charset=utf-8" if path == CHECKPOINT_PATH else "application/octet-stream"


def cache_control(path: str) -> str:
    """Returns how long a file may be kept: the checkpoint not at all, tiles and bundles, whose content never changes, for long."""
    return "no-store" if path == CHECKPOINT_PATH else f"public, max-age={_YEAR_S}, immutable"
