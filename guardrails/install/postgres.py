"""Setting up a policy in PostgreSQL: a schema of our own with one view for each filtered table, and generated columns of masked values,
sealed and read back.

All of it is one transaction: what cannot be verified afterwards does not stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from guardrails.catalog import read_placed, read_placed_columns
from guardrails.engines.postgres import PostgresEngine
from guardrails.errors import EngineError, StatementError
from guardrails.install.report import Installed
from guardrails.install.seal import Seal, seal_key, seal_of
from guardrails.install.trusted import judge_column, judge_view
from guardrails.install.wanted import HELD_KINDS, WantedColumn, WantedView, wanted_columns, wanted_views
from guardrails.model import PlacedColumn, PlacedView
from guardrails.policy import BoundPolicy
from guardrails.sql.barriers import BARRIER_SCHEMA, barrier_query, is_settable, probe_query

__all__ = ["PostgresInstaller"]

_NAME_BYTES = 63
_ENCODING = "SELECT pg_catalog.getdatabaseencoding()"
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
        has_keys: Keyed masks may be generated columns: everybody who can read the system catalog can read the key in them.
    """

    engine: PostgresEngine
    policy: BoundPolicy
    mask_key: bytes
    grantees: Sequence[str] = ()
    has_keys: bool = False

    def look(self) -> list[Installed]:
        """Returns how everything stands, without changing anything."""
        with self._transaction() as connection:
            placed, columns = _placed(connection), read_placed_columns(connection)
            found = [self._looked_column(connection, wanted, columns) for wanted in wanted_columns(self.policy, self.mask_key)]
            found += [self._looked(connection, wanted, placed) for wanted in wanted_views(self.policy, columns)]
            found += _fenced_kinds(self.policy)
            gone = [*self._unwanted(placed), *self._unwanted_columns(columns)]
            return found + [replace(item, state="changed", reason="Nothing needs it.") for item in gone]

    def install(self) -> list[Installed]:
        """Makes what is missing or not as it should be, and removes what nothing needs any more.

        Raises:
            EngineError: The database refused (``install.refused``); nothing was changed.
        """
        with self._transaction(is_kept=True) as connection:
            if not _one(connection, _HAS_SCHEMA, BARRIER_SCHEMA):
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(_NAMES))
            removed = self._unwanted(_placed(connection))
            for gone in removed:
                _drop_view(connection, gone.name)
            unwanted = self._unwanted_columns(read_placed_columns(connection))
            for gone, column in unwanted.items():
                _drop_column(connection, column)
                removed.append(gone)
            found = [self._held_column(connection, wanted) for wanted in wanted_columns(self.policy, self.mask_key)]
            placed, columns = _placed(connection), read_placed_columns(connection)
            found += [self._held(connection, wanted, placed) for wanted in wanted_views(self.policy, columns)]
            return found + _fenced_kinds(self.policy) + removed

    def uninstall(self) -> list[Installed]:
        """Removes the views and columns that bear a seal, and the schema when nothing else is in it."""
        with self._transaction(is_kept=True) as connection:
            views = [view for view in _placed(connection).values() if Seal.parse(view.comment) is not None]
            for view in views:
                _drop_view(connection, view.name)
            columns = [column for column in read_placed_columns(connection) if Seal.parse(column.comment) is not None]
            for column in columns:
                _drop_column(connection, column)
            if _one(connection, _HAS_SCHEMA, BARRIER_SCHEMA) and not _one(connection, _IN_SCHEMA, BARRIER_SCHEMA):
                connection.execute(sql.SQL("DROP SCHEMA {}").format(_NAMES))
            removed: list[PlacedView | PlacedColumn] = [*views, *columns]
            return [Installed(_relation(item), item.name, "removed") for item in removed]

    def _looked(self, connection: psycopg.Connection[Any], wanted: WantedView, placed: dict[str, PlacedView]) -> Installed:
        found = judge_view(wanted, placed, self.mask_key)
        if found.state == "verified":
            return found
        try:
            types = self._types(connection, wanted)
        except _Fenced as reason:
            return replace(found, state="fenced", reason=str(reason))
        return replace(found, sql=barrier_query(wanted.relation, wanted.predicates, types, wanted.own))

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
        query = barrier_query(wanted.relation, wanted.predicates, types, wanted.own)
        connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(name))
        head = sql.SQL("CREATE VIEW {} WITH (security_barrier = true) AS ").format(name)
        connection.execute(sql.Composed([head, sql.SQL(query)]))
        self._grant(connection, wanted.name)
        view = _placed(connection)[wanted.name]
        seal = seal_of(view, query, types, seal_key(self.mask_key))
        connection.execute(sql.SQL("COMMENT ON VIEW {} IS {}").format(name, sql.Literal(seal.comment())))
        return _verified(judge_view(wanted, _placed(connection), self.mask_key))

    def _looked_column(
        self, connection: psycopg.Connection[Any], wanted: WantedColumn, columns: Sequence[PlacedColumn]
    ) -> Installed:
        found = judge_column(wanted, columns, self.mask_key)
        reason = self._why_not(connection, wanted)
        return replace(found, state="fenced", reason=reason) if found.state != "verified" and reason else found

    def _held_column(self, connection: psycopg.Connection[Any], wanted: WantedColumn) -> Installed:
        found = self._looked_column(connection, wanted, read_placed_columns(connection))
        if found.state in ("verified", "fenced"):
            return found
        column = next((c for c in read_placed_columns(connection) if _is_of(c, wanted)), None)
        # Its views name its columns, and are made anew.
        for view in _placed(connection).values():
            if view.base == (wanted.relation.schema, wanted.relation.name) and Seal.parse(view.comment) is not None:
                _drop_view(connection, view.name)
        if column is not None:
            _drop_column(connection, column)
        table = sql.Identifier(wanted.relation.schema, wanted.relation.name)
        name = sql.Identifier(wanted.name)
        add = sql.SQL("ALTER TABLE {} ADD COLUMN {} ").format(table, name)
        generated = sql.SQL(f"{wanted.type} GENERATED ALWAYS AS ({wanted.expression}) STORED")
        try:
            with connection.transaction():
                connection.execute(sql.Composed([add, generated]))
        except (psycopg.errors.InvalidObjectDefinition, psycopg.errors.SyntaxError) as error:
            return replace(
                found, state="fenced", reason=f"The database refuses the mask as a generated column: {_first(error)}"
            )
        connection.execute(sql.SQL("CREATE INDEX ON {} ({})").format(table, name))
        made = next(c for c in read_placed_columns(connection) if _is_of(c, wanted))
        seal = seal_of(made, wanted.expression, (), seal_key(self.mask_key))
        place = sql.Identifier(wanted.relation.schema, wanted.relation.name, wanted.name)
        connection.execute(sql.SQL("COMMENT ON COLUMN {} IS {}").format(place, sql.Literal(seal.comment())))
        verified = _verified(judge_column(wanted, read_placed_columns(connection), self.mask_key))
        return replace(verified, state="created" if column is None else "replaced")

    def _why_not(self, connection: psycopg.Connection[Any], wanted: WantedColumn) -> str:
        """Why the database cannot hold a mask's values; empty when nothing speaks against it."""
        if wanted.relation.kind != "table":
            return "Only a table has generated columns."
        if wanted.relation.parents or any(wanted.key in r.parents for r in self.policy.catalog.relations.values()):
            return "The table shares rows with another."
        if next(c for c in wanted.relation.columns if c.name == wanted.mask.column.column).computed_from:
            return "The column is generated itself."
        if len(wanted.name.encode()) > _NAME_BYTES:
            return "The column's name is too long."
        if wanted.has_key and not self.has_keys:
            return "The key would stand in the system catalog, where every role can read it; --with-keys allows that."
        if wanted.has_key and _one(connection, _ENCODING) != "UTF8":
            return "The database is not in UTF-8."
        return ""

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
        names = {wanted.name for wanted in wanted_views(self.policy, ())}
        return [
            Installed(_relation(view), view.name, "removed")
            for view in placed.values()
            if view.name not in names and Seal.parse(view.comment) is not None
        ]

    def _unwanted_columns(self, columns: Sequence[PlacedColumn]) -> dict[Installed, PlacedColumn]:
        wanted = list(wanted_columns(self.policy, self.mask_key))
        return {
            Installed(_relation(column), column.name, "removed"): column
            for column in columns
            if not any(_is_of(column, w) for w in wanted) and Seal.parse(column.comment) is not None
        }

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


def _verified(found: Installed) -> Installed:
    if found.state != "verified":
        raise EngineError("install.refused", f"{found.name} is not what was asked for. {found.reason}")
    return found


def _drop_view(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute(sql.SQL("DROP VIEW {}.{}").format(_NAMES, sql.Identifier(name)))


def _drop_column(connection: psycopg.Connection[Any], column: PlacedColumn) -> None:
    """Drops one of the guard's own columns, with the guard's views that pass it on."""
    for view in _placed(connection).values():
        if view.base == column.base and Seal.parse(view.comment) is not None:
            _drop_view(connection, view.name)
    connection.execute(
        sql.SQL("ALTER TABLE {} DROP COLUMN {}").format(sql.Identifier(*column.base), sql.Identifier(column.name))
    )


def _is_of(column: PlacedColumn, wanted: WantedColumn) -> bool:
    return (*column.base, column.name) == (wanted.relation.schema, wanted.relation.name, wanted.name)


def _first(error: psycopg.Error) -> str:
    return str(error).splitlines()[0]


def _fenced_kinds(policy: BoundPolicy) -> list[Installed]:
    """The filters of what is no table, which stay with the fence."""
    relations = {row.row_filter.relation: policy.catalog.relations[row.row_filter.relation].kind for row in policy.rows}
    reason = "Only tables and materialized views have a view for their rows."
    return [Installed(key, "", "fenced", reason) for key, kind in relations.items() if kind not in HELD_KINDS]


def _placed(connection: psycopg.Connection[Any]) -> dict[str, PlacedView]:
    return {view.name: view for view in read_placed(connection)}


def _relation(item: PlacedView | PlacedColumn) -> str:
    return ".".join(item.base)


def _one(connection: psycopg.Connection[Any], query: str, *values: object) -> Any:
    row = connection.execute(query.encode(), values).fetchone()
    return row[0] if row else None
