"""The catalog of a live SQLite database: schema `main`, without SQLite's own tables and the shadow tables of virtual ones.

Sources: https://www.sqlite.org/pragma.html (table_list, table_xinfo, index_list, index_xinfo) and
https://www.sqlite.org/schematab.html for the form in which definitions are kept.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from guardrails.catalog.view_text import TOKEN, view_definition
from guardrails.errors import CatalogError
from guardrails.model import Catalog, Column, Declared, Relation, RelationKind

__all__ = ["read_sqlite", "sqlite_digest"]

_KINDS: dict[str, RelationKind] = {"table": "table", "virtual": "foreign_table", "view": "view"}
"""By the type in `pragma_table_list`; shadow tables have none, so they are in no catalog."""

_HIDDEN_IN_VIRTUAL_TABLE = 1
_GENERATED: dict[int, Literal["virtual", "stored"]] = {2: "virtual", 3: "stored"}
"""By the `hidden` of `pragma_table_xinfo`."""


def sqlite_digest(connection: sqlite3.Connection) -> str:
    """Returns the version of the schema: SHA-256 (hex) over the definitions as SQLite keeps them.

    SQLite's own tables do not count, so that ANALYZE changes no version.

    Args:
        connection: An open connection, inside a transaction when the answer must hold for what follows.
    """
    rows = connection.execute(
        r"SELECT type, name, tbl_name, sql FROM main.sqlite_master WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY type, name"
    ).fetchall()
    digest = hashlib.sha256()
    for row in rows:
        for text in row:
            data = ("" if text is None else text).encode("utf-8", "surrogateescape")
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def read_sqlite(connection: sqlite3.Connection) -> Catalog:
    """Reads the catalog of the database behind a connection.

    Args:
        connection: An open connection; the caller holds a transaction, so that digest and relations are of one state.

    Raises:
        CatalogError: A view's definition is not of the form that SQLite keeps (``sql.view_opaque``).
    """
    relations: dict[str, Relation] = {}
    listed = connection.execute(
        "SELECT l.name, l.type, m.sql, l.wr FROM pragma_table_list AS l JOIN main.sqlite_master AS m ON m.name = l.name"
        " AND m.type IN ('table', 'view') WHERE l.schema = 'main' ORDER BY l.name"
    ).fetchall()
    for name, kind, sql, is_by_key in listed:
        if kind in _KINDS and not name.lower().startswith("sqlite_"):
            relations[name] = _relation(connection, name, _KINDS[kind], sql, is_by_key=bool(is_by_key))
    return Catalog("sqlite", "main", relations, sqlite_digest(connection))


def _relation(connection: sqlite3.Connection, name: str, kind: RelationKind, sql: str, *, is_by_key: bool) -> Relation:
    rows = connection.execute(
        "SELECT name, type, \"notnull\", pk, hidden, dflt_value FROM pragma_table_xinfo(?, 'main') ORDER BY cid", (name,)
    ).fetchall()
    shown = [r for r in rows if r[4] != _HIDDEN_IN_VIRTUAL_TABLE]
    computed = _computed([r[0] for r in shown], [r[0] for r in shown if r[4] in _GENERATED], sql)
    keys = tuple(r[0] for r in sorted((r for r in shown if r[3]), key=lambda r: int(r[3])))
    # A key column may hold NULL in SQLite unless it is the row id itself; https://www.sqlite.org/lang_createtable.html
    rowid = keys[0] if len(keys) == 1 and any(r[0] == keys[0] and r[1].upper() == "INTEGER" for r in shown) else None
    declared = [Declared(r[1] or "", r[5], bool(r[2]), _GENERATED.get(r[4], "")) for r in shown]
    columns = tuple(
        Column(d[0], t.type.lower(), not d[2] and d[0] != rowid, t, computed.get(d[0], ()))
        for d, t in zip(shown, declared, strict=True)
    )
    names = [c.name for c in columns]
    return Relation(
        schema="main",
        name=name,
        kind=kind,
        columns=columns,
        primary_key=keys,
        indexed_columns=frozenset(keys) | _indexed(connection, name, names) if kind == "table" else frozenset(),
        definition=_definition(name, sql) if kind == "view" else None,
        # WITHOUT ROWID: the key is where the rows are, whatever its type, and no hint changes the order of a scan.
        stored_by=keys if is_by_key else (),
    )


def _computed(columns: Sequence[str], generated: Sequence[str], sql: str) -> Mapping[str, tuple[str, ...]]:
    """By generated column every other column whose name occurs in its definition; all others where the definition is not found."""
    definitions = _column_definitions(sql) if generated else {}
    found: dict[str, tuple[str, ...]] = {}
    for name in generated:
        words = definitions.get(name.lower())
        found[name] = tuple(c for c in columns if c != name and (words is None or c.lower() in words))
    return found


def _column_definitions(sql: str) -> Mapping[str, frozenset[str]]:
    """Returns by the first name of each item in `CREATE TABLE name (items)` the words after it, folded to lower case."""
    found: dict[str, frozenset[str]] = {}
    depth, item = 0, list[str]()
    for token in TOKEN.finditer(sql):
        if token["blank"]:
            continue
        text = token.group() if token["mark"] else ""
        depth += {"(": 1, ")": -1}.get(text, 0)
        is_end = (text == "," and depth == 1) or (text == ")" and depth == 0)
        if is_end and item:
            found.setdefault(item[0], frozenset(item[1:]))
        if is_end or (text == "(" and depth == 1):
            item = []
        elif depth and not token["mark"]:
            item.append(_name(token).lower())
    return found


def _indexed(connection: sqlite3.Connection, table: str, columns: Iterable[str]) -> frozenset[str]:
    """Every column in any index; in expressions and conditions each column whose name occurs in the index's text."""
    found: set[str] = set()
    for (index,) in connection.execute("SELECT name FROM pragma_index_list(?, 'main')", (table,)).fetchall():
        rows = connection.execute("SELECT name FROM pragma_index_xinfo(?, 'main') WHERE key", (index,)).fetchall()
        found |= {name for (name,) in rows if name is not None}
        text = connection.execute("SELECT sql FROM main.sqlite_master WHERE type = 'index' AND name = ?", (index,)).fetchone()
        words = _words(text[0]) if text and text[0] else frozenset()
        found |= {column for column in columns if column.lower() in words}
    return frozenset(found)


def _words(sql: str) -> frozenset[str]:
    tokens = TOKEN.finditer(sql)
    return frozenset(_name(m).lower() for m in tokens if m["word"] or m["quoted"])


def _name(token: re.Match[str]) -> str:
    text = token.group()
    if not token["quoted"]:
        return text
    closing = "]" if text[0] == "[" else text[0]
    return text[1:-1].replace(closing * 2, closing)


def _definition(name: str, sql: str) -> str:
    found = view_definition(sql)
    if found is None:
        raise CatalogError("sql.view_opaque", f"The definition of the view {name} is not understood.", evidence={"view": name})
    return found
