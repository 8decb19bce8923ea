"""What a change may fail by in SQLite: unique indexes, foreign keys, and CHECK, of which only the text of CREATE TABLE tells.

Source: https://www.sqlite.org/pragma.html (index_list, index_xinfo, foreign_key_list)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from guardrails.catalog.mentions import mentioned
from guardrails.catalog.view_text import TOKEN
from guardrails.model import Constraint, Relation

__all__ = ["own_constraints", "with_references"]

_ACTIONS = {"CASCADE": "cascade", "SET NULL": "set", "SET DEFAULT": "set"}


def own_constraints(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], keys: Sequence[str], sql: str
) -> tuple[Constraint, ...]:
    """Returns what a change of a table may fail by; foreign keys that name no columns there have none yet.

    Args:
        connection: As for the catalog.
        table: Its name.
        columns: Its columns.
        keys: Those of its primary key.
        sql: The text of CREATE TABLE.
    """
    found = {Constraint("check", tuple(sorted(mentioned(text, columns)))) for text in _checks(sql)}
    if keys:
        found.add(Constraint("unique", tuple(sorted(keys)), is_plain=True))
    found |= set(_unique(connection, table, columns)) | set(_foreign(connection, table))
    return tuple(sorted(found))


def with_references(relations: Mapping[str, Relation]) -> dict[str, Relation]:
    """Binds foreign keys to the relations that they refer to, whose primary key they mean where they name no columns."""
    return {name: _bound(relation, relations) for name, relation in relations.items()}


def _bound(relation: Relation, relations: Mapping[str, Relation]) -> Relation:
    constraints: set[Constraint] = set()
    for constraint in relation.constraints:
        if constraint.kind != "foreign":
            constraints.add(constraint)
            continue
        name = next((n for n in relations if n.lower() == constraint.refers_to.lower()), None)
        if name is not None:
            spelled = {c.lower(): c for c in relations[name].column_names}
            referred = constraint.referred or relations[name].primary_key
            named = tuple(spelled.get(c.lower(), c) for c in referred)
            constraints.add(replace(constraint, refers_to=name, referred=named))
    return replace(relation, constraints=tuple(sorted(constraints)))


def _unique(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> Iterator[Constraint]:
    rows = connection.execute("SELECT name, partial FROM pragma_index_list(?, 'main') WHERE \"unique\"", (table,)).fetchall()
    for index, is_partial in rows:
        names = [n for (n,) in connection.execute("SELECT name FROM pragma_index_xinfo(?, 'main') WHERE key", (index,))]
        if not is_partial and None not in names:
            yield Constraint("unique", tuple(sorted(names)), is_plain=True)
            continue
        (text,) = connection.execute(
            "SELECT sql FROM main.sqlite_master WHERE type = 'index' AND name = ?", (index,)
        ).fetchone()
        yield Constraint("unique", tuple(sorted(mentioned(text.partition("(")[2], columns))))


def _foreign(connection: sqlite3.Connection, table: str) -> Iterator[Constraint]:
    keys: dict[int, list[tuple[str, str, str | None, str, str]]] = {}
    sql = 'SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?, \'main\') ORDER BY id, seq'
    for number, *pair in connection.execute(sql, (table,)):
        keys.setdefault(number, []).append((pair[0], pair[1], pair[2], pair[3], pair[4]))
    for pairs in keys.values():
        other, _, _, on_update, on_delete = pairs[0]
        referred = tuple(to for _, _, to, _, _ in pairs if to is not None)
        own = tuple(name for _, name, _, _, _ in pairs)
        on_delete, on_update = _ACTIONS.get(on_delete, ""), _ACTIONS.get(on_update, "")
        yield Constraint("foreign", own, refers_to=other, referred=referred, on_delete=on_delete, on_update=on_update)


def _checks(sql: str) -> Iterator[str]:
    """Yields the condition of each CHECK."""
    tokens = [m for m in TOKEN.finditer(sql) if not m["blank"]]
    for position, token in enumerate(tokens[:-1]):
        if not token["word"] or token.group().upper() != "CHECK" or tokens[position + 1].group() != "(":
            continue
        depth, start = 0, tokens[position + 1].end()
        for inner in tokens[position + 1 :]:
            depth += {"(": 1, ")": -1}.get(inner.group(), 0) if inner["mark"] else 0
            if depth == 0:
                yield sql[start : inner.start()]
                break
