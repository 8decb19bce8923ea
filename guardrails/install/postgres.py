"""Setting up row filters in PostgreSQL: a schema of our own with one view for each filtered table, sealed and read back.

All of it is one transaction: what cannot be verified afterwards does not stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from guardrails.catalog import read_placed
from guardrails.engines.postgres import PostgresEngine
from guardrails.errors import EngineError, StatementError
from guardrails.install.report import Installed
from guardrails.install.seal import Seal, seal_key, seal_of
from guardrails.install.trusted import judge_view
from guardrails.install.wanted import WantedView, wanted_views
from guardrails.model import PlacedView
from guardrails.policy import BoundPolicy
from guardrails.sql.barriers import BARRIER_SCHEMA, barrier_query, is_settable, probe_query

__all__ = ["PostgresInstaller"]

_PROBE = "guardrails_probe"
_TYPES = "SELECT parameter_types::text[] FROM pg_catalog.pg_prepared_statements WHERE name = %s"
_IN_SCHEMA = """
    SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s
"""
_HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s)"
_FILTERS_ROWS = "SELECT relrowsecurity FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass(%s)"


class _Fenced(Exception):
    """A view cannot hold this filter; the text says why."""


@dataclass(frozen=True, slots=True)
class PostgresInstaller:
    """Sets up what a policy asks for in one database.

    Args:
        engine: The database, as a role that owns the tables or may read them, and may create a schema.
        policy: Bound to its catalog.
        mask_key: The guard's mask key, from which that of the seals is derived.
        grantees: Roles that the guard runs statements as, where they are not the role that sets it up.
    """

    engine: PostgresEngine
    policy: BoundPolicy
    mask_key: bytes
    grantees: Sequence[str] = ()

    def look(self) -> list[Installed]:
        """Returns how everything stands, without changing anything."""
        with self._transaction() as connection:
            placed = _placed(connection)
            found = [self._looked(connection, wanted, placed) for wanted in wanted_views(self.policy)]
            return found + [replace(gone, state="changed", reason="Nothing needs it.") for gone in self._unwanted(placed)]

    def install(self) -> list[Installed]:
        """Makes what is missing or not as it should be, and removes what nothing needs any more.

        Raises:
            EngineError: The database refused (``install.refused``); nothing was changed.
        """
        with self._transaction(is_kept=True) as connection:
            if not _one(connection, _HAS_SCHEMA, BARRIER_SCHEMA):
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(_NAMES))
            placed = _placed(connection)
            removed = self._unwanted(placed)
            for gone in removed:
                connection.execute(sql.SQL("DROP VIEW {}.{}").format(_NAMES, sql.Identifier(gone.name)))
            return [self._held(connection, wanted, placed) for wanted in wanted_views(self.policy)] + removed

    def uninstall(self) -> list[Installed]:
        """Removes the views that bear a seal, and the schema when nothing else is in it."""
        with self._transaction(is_kept=True) as connection:
            ours = [view for view in _placed(connection).values() if Seal.parse(view.comment) is not None]
            for view in ours:
                connection.execute(sql.SQL("DROP VIEW {}.{}").format(_NAMES, sql.Identifier(view.name)))
            if _one(connection, _HAS_SCHEMA, BARRIER_SCHEMA) and not _one(connection, _IN_SCHEMA, BARRIER_SCHEMA):
                connection.execute(sql.SQL("DROP SCHEMA {}").format(_NAMES))
            return [Installed(_relation(view), view.name, "removed") for view in ours]

    def _looked(self, connection: psycopg.Connection[Any], wanted: WantedView, placed: dict[str, PlacedView]) -> Installed:
        found = judge_view(wanted, placed, self.mask_key)
        if found.state == "verified":
            return found
        try:
            types = self._types(connection, wanted)
        except _Fenced as reason:
            return replace(found, state="fenced", reason=str(reason))
        return replace(found, sql=barrier_query(wanted.relation, wanted.predicates, types))

    def _held(self, connection: psycopg.Connection[Any], wanted: WantedView, placed: dict[str, PlacedView]) -> Installed:
        found = judge_view(wanted, placed, self.mask_key)
        if found.state != "verified":
            try:
                types = self._types(connection, wanted)
            except _Fenced as reason:
                return replace(found, state="fenced", reason=str(reason))
            found = replace(self._make(connection, wanted, types), state="created" if found.state == "missing" else "replaced")
        self._grant(connection, wanted.name)
        return found

    def _make(self, connection: psycopg.Connection[Any], wanted: WantedView, types: Sequence[str]) -> Installed:
        name = sql.SQL("{}.{}").format(_NAMES, sql.Identifier(wanted.name))
        query = barrier_query(wanted.relation, wanted.predicates, types)
        connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(name))
        head = sql.SQL("CREATE VIEW {} WITH (security_barrier = true) AS ").format(name)
        connection.execute(sql.Composed([head, sql.SQL(query)]))
        self._grant(connection, wanted.name)
        view = _placed(connection)[wanted.name]
        seal = seal_of(view, query, types, seal_key(self.mask_key))
        connection.execute(sql.SQL("COMMENT ON VIEW {} IS {}").format(name, sql.Literal(seal.comment())))
        found = judge_view(wanted, _placed(connection), self.mask_key)
        if found.state != "verified":
            raise EngineError("install.refused", f"The view for {wanted.key} is not what was asked for. {found.reason}")
        return found

    def _grant(self, connection: psycopg.Connection[Any], name: str) -> None:
        for role in self.grantees:
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(_NAMES, sql.Identifier(role)))
            connection.execute(
                sql.SQL("GRANT SELECT ON {}.{} TO {}").format(_NAMES, sql.Identifier(name), sql.Identifier(role))
            )

    def _types(self, connection: psycopg.Connection[Any], wanted: WantedView) -> tuple[str, ...]:
        """Asks the engine which types the principal's values have where they stand."""
        place = sql.Identifier(wanted.relation.schema, wanted.relation.name).as_string(connection)
        if _one(connection, _FILTERS_ROWS, place):
            raise _Fenced("Row-level security holds for the table, which a view would read with its owner's rights.")
        try:
            query, slots = probe_query(wanted.relation, wanted.predicates)
        except StatementError as error:
            raise _Fenced(error.message) from error
        try:
            with connection.transaction():
                connection.execute(f"PREPARE {_PROBE} AS {query}".encode())
                types = tuple(_one(connection, _TYPES, _PROBE) or ())
                connection.execute(f"DEALLOCATE {_PROBE}")
        except psycopg.Error as error:
            raise _Fenced("The database does not tell the types of the principal's values in the filter.") from error
        for slot, type_text in zip(slots, types, strict=True):
            if not is_settable(type_text, is_list=slot.is_list):
                raise _Fenced(f"principal.{slot.name} is of the type {type_text} there, which no setting carries.")
        return types

    def _unwanted(self, placed: dict[str, PlacedView]) -> list[Installed]:
        names = {wanted.name for wanted in wanted_views(self.policy)}
        return [
            Installed(_relation(view), view.name, "removed")
            for view in placed.values()
            if view.name not in names and Seal.parse(view.comment) is not None
        ]

    @contextmanager
    def _transaction(self, *, is_kept: bool = False) -> Iterator[psycopg.Connection[Any]]:
        with self.engine.lend() as connection:
            try:
                connection.execute(
                    "BEGIN; SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL standard_conforming_strings = on"
                )
                yield connection
                connection.execute("COMMIT" if is_kept else "ROLLBACK")
            except psycopg.Error as error:
                text = str(error).strip()
                raise EngineError(
                    "install.refused", "The database refused to set up the policy.", evidence={"engine_text": text}
                ) from error
            finally:
                if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    connection.execute("ROLLBACK")


_NAMES = sql.Identifier(BARRIER_SCHEMA)


def _placed(connection: psycopg.Connection[Any]) -> dict[str, PlacedView]:
    return {view.name: view for view in read_placed(connection)}


def _relation(view: PlacedView) -> str:
    return ".".join(view.base)


def _one(connection: psycopg.Connection[Any], query: str, *values: object) -> Any:
    row = connection.execute(query.encode(), values).fetchone()
    return row[0] if row else None
