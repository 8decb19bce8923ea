"""Who is behind a framework's call: the principal and the purpose that an application put into the framework's own context.

Only a `Principal` counts, which is made in code from a verified token: a mapping of the same shape, such as a client can send as JSON,
establishes nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

from guardrails.model import Principal

__all__ = ["principal_in", "purpose_in"]


def principal_in(*contexts: object) -> Principal | None:
    """Returns the principal that contexts of a framework hold: one that is one, or has one under `principal`; None if none does.

    Args:
        contexts: Looked at in order; mappings by key, other objects by attribute.
    """
    return next((found for context in contexts if (found := _principal(context)) is not None), None)


def purpose_in(*contexts: object) -> str | None:
    """Returns the purpose that contexts of a framework state under `purpose`; None if none does."""
    stated = (_field(context, "purpose") for context in contexts)
    return next((purpose for purpose in stated if isinstance(purpose, str) and purpose), None)


def _principal(context: object) -> Principal | None:
    found = context if isinstance(context, Principal) else _field(context, "principal")
    return found if isinstance(found, Principal) else None


def _field(context: object, name: str) -> object:
    return context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)
