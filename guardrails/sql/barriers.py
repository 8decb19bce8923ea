"""Row filters as views of the database: what such a view selects, and the settings through which a principal's values reach it.

A view with `security_barrier` runs no condition from outside on a hidden row unless the engine knows that it tells nothing (a
`LEAKPROOF` function), and it looks at no statistics for one; so it fences as the guard's own subquery does, and indexes serve it.
A value travels in a setting of the transaction, after an `=`, as an unset one may be an empty text. Without it the view has no rows.
Source: https://www.postgresql.org/docs/current/rules-privileges.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlglot import exp

from guardrails.errors import StatementError
from guardrails.model import Mask, Relation, RowFilter, Value
from guardrails.sql.dialects import EngineDialect, dialect_of
from guardrails.sql.filters import filter_tree, is_principals, own_column, value_name
from guardrails.sql.parse import check_round_trip, parse_tree
from guardrails.sql.tokens import tokenize

__all__ = ["BARRIER_SCHEMA", "Barrier", "Placements", "Slot", "barrier_name", "barrier_query", "is_settable", "probe_query"]

BARRIER_SCHEMA = "guardrails"
"""The schema that holds what the guard sets up; nothing in it exists for agents or policies."""

_ROW = "gr_row"
_SET = "="
_PLAIN_NAME = re.compile(r"[^a-z0-9_]+")
_DIGITS = 20


class Slot(NamedTuple):
    """A place of a principal's value in the predicates of a view: the filter it is in, the name after `principal.`, and its setting."""

    filter_index: int
    name: str
    setting: str
    is_list: bool


class _Type(NamedTuple):
    """How a type is written in a cast, and which values mean the same in a setting as they do as a bound parameter."""

    cast: str
    fits: Callable[[object], bool]


def _is_whole(bits: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_TYPES: dict[str, _Type] = {
    "text": _Type("text", _is_text),
    "character varying": _Type("varchar", _is_text),
    # `character` alone would be one of length 1.
    "character": _Type("bpchar", _is_text),
    "smallint": _Type("smallint", _is_whole(16)),
    "integer": _Type("integer", _is_whole(32)),
    "bigint": _Type("bigint", _is_whole(64)),
    "numeric": _Type("numeric", lambda v: type(v) is int or (isinstance(v, Decimal) and v.is_finite())),
    "boolean": _Type("boolean", lambda v: isinstance(v, bool)),
    "uuid": _Type("uuid", lambda v: isinstance(v, UUID)),
    "date": _Type("date", lambda v: isinstance(v, date) and not isinstance(v, datetime)),
    "timestamp without time zone": _Type("timestamp", lambda v: isinstance(v, datetime) and v.tzinfo is None),
    "timestamp with time zone": _Type("timestamptz", lambda v: isinstance(v, datetime) and v.tzinfo is not None),
}


@dataclass(frozen=True, slots=True)
class Barrier:
    """A view that the guard trusts.

    Args:
        name: Of the view.
        slots: The places of the principal's values, in the order of the predicates.
        types: The engine's type of each slot, as `is_settable` takes them.
    """

    name: str
    slots: tuple[Slot, ...]
    types: tuple[str, ...]

    def settings(self, filters: Sequence[RowFilter], relation: Relation) -> dict[str, str] | None:
        """Returns the settings that carry a principal's values, None where one of them would mean something else as text.

        Raises:
            StatementError: The principal lacks a value (``policy.obligation``).
        """
        found: dict[str, str] = {}
        for slot, type_text in zip(self.slots, self.types, strict=True):
            values = dict(filters[slot.filter_index].bindings)
            value = values[value_name(slot.name, values, relation, dialect_of("postgres"))]
            text = _text(value, slot, type_text)
            # Names of settings are the same in capitals and without.
            if text is None or found.setdefault(slot.setting, text) != text:
                return None
        return found


@dataclass(frozen=True, slots=True)
class Placements:
    """What of a policy the database itself holds, verified.

    Args:
        barriers: Views by relation and predicates of its filters.
        columns: Names of generated columns of masked values, by the mask that they hold.
    """

    barriers: Mapping[tuple[str, tuple[str, ...]], Barrier] = field(default_factory=dict)
    columns: Mapping[Mask, str] = field(default_factory=dict)


def barrier_name(relation: Relation, predicates: Sequence[str]) -> str:
    """Returns the name of the view for these filters of a relation."""
    digest = hashlib.sha256("\0".join((relation.schema, relation.name, *predicates)).encode()).hexdigest()
    return f"rows_{_PLAIN_NAME.sub('_', relation.name.lower())[:30]}_{digest[:_DIGITS]}"


def is_settable(type_text: str, *, is_list: bool) -> bool:
    """Whether values of a type (as the engine names it, an array's with `[]`) can travel in a setting."""
    return is_list == type_text.endswith("[]") and type_text.removesuffix("[]") in _TYPES


def probe_query(relation: Relation, predicates: Sequence[str]) -> tuple[str, tuple[Slot, ...]]:
    """Returns a query with `$1`, `$2`, … for the principal's values, of which the engine tells the types, and their places.

    Raises:
        StatementError: A predicate is none, or a value stands where a view cannot take it (``policy.row_filter_invalid``).
    """
    slots: list[Slot] = []

    def numbered(slot: Slot) -> exp.Expr:
        slots.append(slot)
        return exp.Parameter(this=exp.Literal.number(len(slots)))

    rules = dialect_of("postgres")
    trees = [_predicate(text, index, relation, rules, numbered) for index, text in enumerate(predicates)]
    return check_round_trip(_select([exp.Literal.number(1)], relation, trees), rules), tuple(slots)


def barrier_query(relation: Relation, predicates: Sequence[str], types: Sequence[str], own: Sequence[str] = ()) -> str:
    """Returns what the view selects: the columns of the relation, of the rows that all the filters let through.

    Args:
        relation: The relation.
        predicates: Of its filters.
        types: Of each slot, as the engine names them; see `probe_query`.
        own: Columns of the guard's own in the relation.

    Raises:
        StatementError: As `probe_query`, or the types do not belong to these predicates.
    """
    rules = dialect_of("postgres")
    waiting = list(types)
    settings: dict[str, None] = {}

    def read(slot: Slot) -> exp.Expr:
        type_text = waiting.pop(0) if waiting else ""
        if not is_settable(type_text, is_list=slot.is_list):
            raise StatementError("policy.row_filter_invalid", f"principal.{slot.name} cannot be a setting of the database.")
        settings[slot.setting] = None
        cast = _TYPES[type_text.removesuffix("[]")].cast + ("[]" if slot.is_list else "")
        return _expression(f"CAST(substr(nullif(current_setting('{slot.setting}', true), ''), 2) AS {cast})", rules)

    trees = [_predicate(text, index, relation, rules, read) for index, text in enumerate(predicates)]
    trees += [_expression(f"current_setting('{name}', true) <> ''", rules) for name in settings]
    if waiting:
        raise StatementError("policy.row_filter_invalid", "There are more types than values of the principal's.")
    columns = [exp.Alias(this=_column(c), alias=exp.to_identifier(c, quoted=True)) for c in (*relation.column_names, *own)]
    return check_round_trip(_select(columns, relation, trees), rules)


def _predicate(text: str, index: int, relation: Relation, rules: EngineDialect, value: Callable[[Slot], exp.Expr]) -> exp.Expr:
    """Parses a filter for a view: columns are qualified, and what stands for the principal's values is put in their places."""
    holder = exp.Paren(this=filter_tree(text, rules))
    for node in list(holder.find_all(exp.Column)):
        if not is_principals(node, rules):
            column = _column(own_column(node, relation, rules))
            node.set("this", column.this)
            node.set("table", column.args["table"])
            continue
        name = node.name.removeprefix("principal.")
        part = node.parent if isinstance(node.parent, exp.Paren) else node
        held = part.parent
        is_list = isinstance(held, exp.In) and held.this is not part
        slot = Slot(index, name, f"{BARRIER_SCHEMA}.{'l' if is_list else 'p'}_{name.lower()}", is_list)
        if not isinstance(held, exp.In) or not is_list:
            node.replace(value(slot))
        elif len(held.expressions) == 1:
            any_ = exp.Any(this=exp.Paren(this=value(slot)))
            held.replace(exp.Paren(this=exp.EQ(this=held.this.copy(), expression=any_)))
        else:
            raise StatementError("policy.row_filter_invalid", f"principal.{name} stands in a list with other things.")
    return holder


def _select(columns: Sequence[exp.Expr], relation: Relation, conditions: Sequence[exp.Expr]) -> exp.Select:
    table = exp.Table(
        this=exp.to_identifier(relation.name, quoted=True),
        db=exp.to_identifier(relation.schema, quoted=True),
        alias=exp.TableAlias(this=exp.to_identifier(_ROW, quoted=True)),
    )
    where = exp.and_(*conditions, copy=False, wrap=False) if len(conditions) > 1 else conditions[0]
    return exp.Select(expressions=list(columns), from_=exp.From(this=table), where=exp.Where(this=where))


def _expression(sql: str, rules: EngineDialect) -> exp.Expr:
    text = f"SELECT {sql}"
    return parse_tree(text, tokenize(text, rules), rules).expressions[0].pop()  # type: ignore[no-any-return]


def _column(name: str) -> exp.Column:
    return exp.Column(this=exp.to_identifier(name, quoted=True), table=exp.to_identifier(_ROW, quoted=True))


def _text(value: Value, slot: Slot, type_text: str) -> str | None:
    """A value as the text of its setting, None where the type would read it otherwise than a bound value."""
    is_many = isinstance(value, (list, tuple, set, frozenset))
    if is_many and not slot.is_list:
        return None
    items: list[object] = sorted(value, key=repr) if isinstance(value, (list, tuple, set, frozenset)) else [value]
    if not all(map(_TYPES[type_text.removesuffix("[]")].fits, items)):
        return None
    texts = [format(i, "f") if isinstance(i, Decimal) else i.isoformat() if isinstance(i, date) else str(i) for i in items]
    if not slot.is_list:
        return _SET + texts[0]
    # IN with nothing is never true and never false.
    quoted = ['"' + t.replace("\\", "\\\\").replace('"', '\\"') + '"' for t in texts] or ["NULL"]
    return f"{_SET}{{{','.join(quoted)}}}"
