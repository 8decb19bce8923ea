"""What a change may fail by, from the items of CREATE TABLE and from CREATE UNIQUE INDEX in a schema file.

Conditions are kept as text until the whole table is known, since they may name columns that come later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from guardrails.model import Constraint, Relation
from guardrails.sql.ddl_cursor import Cursor
from guardrails.sql.ddl_table import CONSTRAINT_WORDS, Table, mentioned
from guardrails.sql.ddl_text import Part

__all__ = ["bind_references", "inherit", "note_constraints", "note_unique_index"]

_ACTIONS = {"CASCADE": "cascade", "SET": "set"}
KeyOf = Callable[[str | None, str], str]


def note_constraints(table: Table, part: Part, fold: Callable[[str], str], key_of: KeyOf) -> None:
    """Notes the constraints of one item: a column's own, or a constraint of the table.

    Args:
        table: What is being read.
        part: The item, from its first word on.
        fold: What a name without quotes becomes.
        key_of: Gives the key of a relation by schema and name.

    Raises:
        CatalogError: A key is not understood.
    """
    item = Cursor(part, fold)
    is_column = item.token is not None and item.token.word not in CONSTRAINT_WORDS[table.rules.name]
    own: list[str] = [name for name in (table.column(item.name()),) if name is not None] if is_column else []
    while item.token is not None:
        if item.takes("CHECK"):
            _note_check(table, item)
        elif item.takes("EXCLUDE"):
            table.constraints.add(_over("exclude", mentioned(item.rest, table)))
            return
        elif item.takes("FOREIGN", "KEY"):
            own = mentioned(_list_of(item), table)
        elif item.takes("REFERENCES"):
            _note_reference(table, item, own, key_of)
        elif item.takes("PRIMARY", "KEY") or item.takes("UNIQUE"):
            _note_key(table, item, own)
        elif item.sees("("):
            item.group()
        else:
            item.position += 1


def note_unique_index(table: Table, part: Part, fold: Callable[[str], str]) -> None:
    """Notes what CREATE UNIQUE INDEX says behind the table's name."""
    item = Cursor(part, fold)
    group = _list_of(item)
    words = {t.word for t in item.rest.tokens}
    if _is_plain(group) and not words & {"WHERE", "NULLS"}:
        table.constraints.add(_over("unique", mentioned(group, table), is_plain=True))
    else:
        table.constraints.add(_over("unique", mentioned(part, table)))


def inherit(tables: Mapping[str, Table]) -> None:
    """Gives children the checks of their parents and what decides about a row's partition, and partitions the keys as well."""
    for table in tables.values():
        waiting, seen = [(key, table.is_partition) for key in table.parents], set[str]()
        while waiting:
            key, is_partition = waiting.pop()
            parent = tables.get(key)
            if parent is None or key in seen:
                continue
            seen.add(key)
            table.parted += [c for c in parent.parted if c not in table.parted]
            table.checks += [check for check in parent.checks if check not in table.checks]
            table.constraints |= parent.constraints if is_partition else set()
            waiting += [(above, is_partition and parent.is_partition) for above in parent.parents]


def bind_references(relation: Relation, relations: Mapping[str, Relation]) -> Relation:
    """Names the columns that foreign keys refer to; one to a relation that is not there goes."""
    found: set[Constraint] = set()
    for constraint in relation.constraints:
        if constraint.kind != "foreign":
            found.add(constraint)
        elif (target := relations.get(constraint.refers_to)) is not None:
            spelled = {name.lower(): name for name in target.column_names}
            named = constraint.referred or target.primary_key
            found.add(
                replace(constraint, referred=tuple(n if n in target.column_names else spelled.get(n.lower(), n) for n in named))
            )
    return replace(relation, constraints=tuple(sorted(found)))


def _note_check(table: Table, item: Cursor) -> None:
    if item.sees("("):
        group = item.group()
        table.checks.append((group, item.sees("NOT", "VALID") or item.sees("NO", "INHERIT", "NOT", "VALID")))


def _note_key(table: Table, item: Cursor, own: list[str]) -> None:
    is_distinct = not item.takes("NULLS", "NOT", "DISTINCT")
    if own:
        table.constraints.add(_over("unique", own, is_plain=is_distinct))
    elif any(t.sign == "(" for t in item.rest.tokens):
        while not item.sees("("):
            is_distinct &= not item.takes("NULLS", "NOT", "DISTINCT")
            item.position += 0 if item.sees("(") else 1
        group = item.group()
        table.constraints.add(_over("unique", mentioned(group, table), is_plain=is_distinct and _is_plain(group)))


def _note_reference(table: Table, item: Cursor, own: list[str], key_of: KeyOf) -> None:
    schema, name = item.names()
    referred = tuple(c.name() for c in item.items(item.group())) if item.sees("(") else ()
    actions = {"DELETE": "", "UPDATE": ""}
    while item.token is not None and item.token.word not in ("CHECK", "REFERENCES", "UNIQUE", "PRIMARY", "FOREIGN"):
        word = next((w for w in actions if item.takes("ON", w)), None)
        if word is not None and item.token is not None:
            actions[word] = _ACTIONS.get(item.token.word, "")
        else:
            item.position += 1
    constraint = Constraint(
        "foreign",
        tuple(own),
        refers_to=key_of(schema, name),
        referred=referred,
        on_delete=actions["DELETE"],
        on_update=actions["UPDATE"],
    )
    table.constraints.add(constraint)


def _list_of(item: Cursor) -> Part:
    while item.token is not None and not item.sees("("):
        item.position += 1
    return item.group()


def _is_plain(group: Part) -> bool:
    """Whether a list names columns as they are, and neither expressions nor the first characters of one."""
    return all(t.sign != "(" for t in group.tokens)


def _over(kind: str, columns: list[str], *, is_plain: bool = False) -> Constraint:
    return Constraint("exclude" if kind == "exclude" else "unique", tuple(sorted(set(columns))), is_plain)
