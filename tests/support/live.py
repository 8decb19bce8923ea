"""A guard over a database that a test made itself, with what it lets through as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa

from guardrails import Guard, Policy, Principal
from guardrails.errors import GuardrailsError
from guardrails.flow import Event

__all__ = ["Live", "open_live", "run_postgres"]


class Live:
    """A guard, and a session of a principal in it."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Runs a statement and returns its rows, sorted."""
        return sorted(self.guard.execute(sql).rows, key=repr)

    def code(self, sql: str) -> str:
        """Runs a statement; returns the code of the refusal, `ok` without one."""
        try:
            self.guard.execute(sql)
        except GuardrailsError as error:
            return error.code
        return "ok"


@contextmanager
def open_live(
    database: str | sa.Engine,
    policy: str,
    folder: Path,
    *groups: str,
    observer: Callable[[Event], None] | None = None,
    **attributes: str,
) -> Iterator[Live]:
    """Opens a guard on a database with a policy; the principal is in the groups and has the attributes."""
    ledger = f"sqlite:///{folder / 'audit.db'}"
    principal = Principal("ana@example.com", frozenset(groups), attributes)
    with (
        Guard.open(
            Policy.from_text(policy), database=database, ledger=ledger, observer=observer, unsafe_without_scan=True
        ) as guard,
        guard.session(principal=principal, agent="agent"),
    ):
        yield Live(guard)


def run_postgres(url: str, *statements: str) -> None:
    """Runs statements as the owner, each committed by itself."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
