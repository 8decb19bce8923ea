"""Revisions of a ledger's tables, applied with alembic; no configuration file is needed.

A new ledger is made by the same revisions as an old one is brought up to date with, so both have the same tables.
"""

from __future__ import annotations

from guardrails.ledger.migrations.run import migrate, postgres_script

__all__ = ["migrate", "postgres_script"]
