"""Revisions of a ledger's tables, applied with alembic; no configuration file is needed."""

from __future__ import annotations

from guardrails.ledger.migrations.run import migrate

__all__ = ["migrate"]
