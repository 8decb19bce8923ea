"""SQLite's second lock: an authorizer that denies everything a plan does not need.

The authorizer is asked while a statement is compiled, so what it denies never starts. It sees the real tables behind aliases,
views and triggers; it does not see columns that NATURAL JOIN and USING compare, which is why the SQL layer spells those out.
Source: https://www.sqlite.org/c3ref/set_authorizer.html and https://www.sqlite.org/c3ref/c_alter_table.html
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from guardrails.model import Plan
from guardrails.sql.dialects.base import ascii_lower

__all__ = ["ForeignKey", "SchemaNames", "SqliteLock"]

_MASK_PREFIX = "guardrails_mask_"
_ROW_TABLES = frozenset({"json_each", "json_tree"})
"""Table-valued functions over their arguments; every other one shows something of the engine or the schema."""

_WITHOUT_EFFECT = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE})
_SCHEMA_TABLES = frozenset({"sqlite_master", "sqlite_temp_master", "sqlite_sequence"})
_SCHEMA_CODES: dict[str, frozenset[int]] = {
    "create": frozenset({sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_VIEW, sqlite3.SQLITE_CREATE_INDEX}),
    "drop": frozenset({sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_DROP_VIEW, sqlite3.SQLITE_DROP_INDEX}),
    "alter": frozenset({sqlite3.SQLITE_ALTER_TABLE}),
    "truncate": frozenset(),
}
"""Authorizer codes of each DDL verb, beside the changes to the schema table that all of them make."""

_RENAMING = frozenset(
    {"sqlite_rename_table", "sqlite_rename_column", "sqlite_rename_test", "sqlite_rename_quotefix", "sqlite_drop_column"}
)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """One column pair of a foreign key, names folded to lower case; actions as SQLite spells them (`CASCADE`, `SET NULL`)."""

    child: str
    child_column: str
    parent: str
    parent_column: str
    on_update: str
    on_delete: str


@dataclass(frozen=True, slots=True)
class SchemaNames:
    """Names of the schema, folded to lower case.

    Args:
        tables: Every table and view.
        views: Every view.
        modules: Virtual table modules, whose names are tables too.
        shadows: Shadow tables by the virtual table that keeps its content in them.
        foreign_keys: Every declared one.
    """

    tables: frozenset[str]
    views: frozenset[str]
    modules: frozenset[str]
    shadows: dict[str, frozenset[str]]
    foreign_keys: tuple[ForeignKey, ...] = ()


class SqliteLock:
    """The authorizer of one plan; it notes what it denied.

    Args:
        plan: What may happen.
        names: The schema that it happens in.
        functions: Lower-case names of the functions without effects.
    """

    def __init__(self, plan: Plan, names: SchemaNames, functions: frozenset[str]) -> None:
        self.denied: list[str] = []
        self._names = names
        self._functions = functions
        self._used = {ascii_lower(u.relation) for u in plan.relations}
        self._reads = {(ascii_lower(c.relation), ascii_lower(c.column)) for c in plan.reads}
        self._inserts = _targets(plan, "insert")
        self._deletes = _targets(plan, "delete") | _targets(plan, "truncate")
        updated = _targets(plan, "update")
        self._updates = {
            (ascii_lower(c.relation), ascii_lower(c.column)) for c in plan.writes if ascii_lower(c.relation) in updated
        }
        self._shadows = frozenset().union(*(names.shadows.get(name, frozenset()) for name in self._used))
        self._schema_verbs = set(plan.actions) & set(_SCHEMA_CODES)
        self._schema_targets = {ascii_lower(u.relation) for u in plan.relations if u.action in _SCHEMA_CODES}
        if not plan.is_read_only:
            self._follow_foreign_keys()

    def __call__(self, code: int, first: str | None, second: str | None, schema: str | None, inner: str | None) -> int:
        """Answers SQLite: `SQLITE_OK` or `SQLITE_DENY`."""
        if self._allows(code, ascii_lower(first or ""), ascii_lower(second or ""), schema):
            return sqlite3.SQLITE_OK
        self.denied.append(f"code={code} {first} {second} {schema} inside={inner}")
        return sqlite3.SQLITE_DENY

    def _allows(self, code: int, first: str, second: str, schema: str | None) -> bool:
        if code in _WITHOUT_EFFECT:
            return True
        if code == sqlite3.SQLITE_FUNCTION:
            return second in self._functions or second.startswith(_MASK_PREFIX) or (self._alters and second in _RENAMING)
        if code == sqlite3.SQLITE_PRAGMA:
            # Full-text tables ask for this number before they read their shadow tables.
            return first == "data_version" and not second and bool(self._shadows)
        if self._schema_verbs and self._allows_schema_change(code, first, second):
            return True
        if schema not in ("main", None):
            return False
        if code == sqlite3.SQLITE_READ:
            return self._may_read(first, second)
        if code == sqlite3.SQLITE_INSERT:
            return first in self._inserts
        if code == sqlite3.SQLITE_DELETE:
            return first in self._deletes
        return code == sqlite3.SQLITE_UPDATE and (first, second) in self._updates

    @property
    def _alters(self) -> bool:
        return "alter" in self._schema_verbs

    def _may_read(self, table: str, column: str) -> bool:
        if (table, column) in self._reads or table in self._shadows:
            return True
        if table in self._used:
            # Without a column: rows are counted. A view's columns: the base columns behind them are asked for one by one.
            return not column or table in self._names.views
        if table in self._names.tables:
            return table in self._schema_targets
        if table in _ROW_TABLES:
            return True
        # No column and no table of that name: rows of a common table expression are counted.
        return not column and not table.startswith(("sqlite_", "pragma_")) and table not in self._names.modules

    def _allows_schema_change(self, code: int, first: str, second: str) -> bool:
        if code in (sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE):
            is_own = first in self._schema_targets and code in (sqlite3.SQLITE_READ, sqlite3.SQLITE_DELETE)
            return first in _SCHEMA_TABLES or is_own
        if code == sqlite3.SQLITE_REINDEX:
            return True
        if not any(code in _SCHEMA_CODES[verb] for verb in self._schema_verbs):
            return False
        # The table is the second name of an index and of ALTER TABLE (whose first is the schema), the first of everything else.
        return first in self._schema_targets or second in self._schema_targets

    def _follow_foreign_keys(self) -> None:
        """Allows what declared foreign keys do: the schema's author made it part of changing the parent."""
        pending = [(table, "", True) for table in self._deletes] + [(t, c, False) for t, c in self._updates]
        seen = set(pending)
        while pending:
            table, column, is_delete = pending.pop()
            for key in self._names.foreign_keys:
                if key.parent != table or not (is_delete or key.parent_column == column):
                    continue
                self._reads |= {(key.child, key.child_column), (key.parent, key.parent_column)}
                action = key.on_delete if is_delete else key.on_update
                if action == "CASCADE" and is_delete:
                    self._deletes = self._deletes | {key.child}
                    follow = (key.child, "", True)
                elif action in ("CASCADE", "SET NULL", "SET DEFAULT"):
                    self._updates |= {(key.child, key.child_column)}
                    follow = (key.child, key.child_column, False)
                else:
                    continue
                if follow not in seen:
                    seen.add(follow)
                    pending.append(follow)
        self._follow_to_parents()

    def _follow_to_parents(self) -> None:
        """Allows the look-up in the parent that SQLite makes, or prepares, when a row that refers to it is changed.

        An INSERT of several rows, or with RETURNING, looks through the children of what it inserts.
        """
        changed = self._inserts | self._deletes
        for key in self._names.foreign_keys:
            if key.child in changed or key.parent in self._inserts or (key.child, key.child_column) in self._updates:
                self._reads |= {(key.child, key.child_column), (key.parent, key.parent_column)}


def _targets(plan: Plan, action: str) -> frozenset[str]:
    """Relations that the plan changes by an action. The lock's own table of verbs is the only source: unknown verbs give none."""
    named: Iterable[str] = (u.relation for u in plan.relations if u.action == action and action in plan.actions)
    return frozenset(ascii_lower(name) for name in named)
