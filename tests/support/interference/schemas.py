"""The two schemas that statements are generated for, with what is protected in each and the policies over them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import yaml

from guardrails.model import Catalog, ColumnRef, DialectName
from guardrails.policy import BoundPolicy, Policy
from guardrails.policy.binding import BoundColumn
from tests.support import corpus, generator
from tests.support.grammar import FLAVOURS, Choose, any_statement, ddl
from tests.support.grammar import rows as grammar_rows
from tests.support.grammar.schema import TABLES
from tests.support.interference.values import Protected, Values, mask_of

__all__ = ["SCHEMAS", "Schema"]

_CLOCK = re.compile(r"\b(?:localtimestamp|localtime|current_timestamp|now)\b(?:\(\))?(?!\s*[(=])", re.IGNORECASE)
_LIMITS = {"rows": 300, "rows_changed": 300, "seconds": 1}
_FULL: Mapping[str, str | int] = {"mask": "full"}
_NULL: Mapping[str, str | int] = {"mask": "null"}


def _fixed(value: str | int) -> Mapping[str, str | int]:
    return {"mask": "fixed", "value": value}


@dataclass(frozen=True)
class Schema:
    """One schema with its statements.

    Args:
        name: `corpus` or `grammar`.
        protected: What is protected, by table and column.
        filters: Row filters of the policy that has some.
        ddl: Statements that make it on an engine.
        tables: Columns of each table that the engine can have, with their kinds.
        rows: Rows whose protected cells are replaced.
        make: Makes one statement.
        extra: Further DDL by engine.
    """

    name: str
    protected: Mapping[str, Mapping[str, Protected]]
    filters: Mapping[str, str]
    ddl: Callable[[DialectName], Sequence[str]]
    tables: Callable[[DialectName], Mapping[str, Sequence[str]]]
    rows: Callable[[DialectName], Iterator[tuple[str, dict[str, object]]]]
    make: Callable[[Choose, DialectName], str]
    extra: Mapping[DialectName, Sequence[str]]

    def statements(self, dialect: DialectName) -> list[str]:
        """Returns the DDL."""
        return [*self.ddl(dialect), *self.extra.get(dialect, ())]

    def filled(self, catalog: Catalog, twin: int, *, is_keeping: bool) -> Iterator[tuple[str, list[object]]]:
        """Yields (table, values in the columns' order) of one twin."""
        values = Values(catalog.dialect, twin, is_keeping=is_keeping)
        for table, row in self.rows(catalog.dialect):
            columns = {c.name: c for c in catalog.relations[table].columns}
            for name, protected in self.protected.get(table, {}).items():
                if name in row:
                    row[name] = values.value(protected, columns[name], ColumnRef(table, name))
            yield table, list(row.values())

    def policy(self, catalog: Catalog, spell: Callable[[str], str], *, is_keeping: bool, is_filtered: bool) -> BoundPolicy:
        """Returns a policy that permits every query and change, with masks and perhaps row filters.

        Args:
            catalog: What it is held against.
            spell: Gives a table's name in that catalog.
            is_keeping: With masks that keep something.
            is_filtered: With row filters.
        """
        # Bound by hand, as a policy file does not take every name that a table can have.
        columns = []
        for name_here, found in self.protected.items():
            relation = catalog.relations.get(spell(name_here))
            for name, protected in found.items():
                if relation is not None and name in relation.column_names:
                    written = protected.keeping if is_keeping and protected.keeping is not None else protected.constant
                    columns.append(BoundColumn(mask_of(ColumnRef(spell(name_here), name), written), None))
        rules = [
            {"id": "all", "effect": "allow", "actions": ["read", "write"], "relations": ["*"], "where": "optional"},
        ]
        document = {"version": 1, "rules": rules, "limits": _LIMITS}
        if is_filtered:
            document["rows"] = dict(self.filters)
        bound = Policy.from_text(yaml.safe_dump(document, sort_keys=False)).bind(catalog)
        return replace(bound, columns=tuple(columns))


def _corpus_rows(dialect: DialectName) -> Iterator[tuple[str, dict[str, object]]]:
    names = _corpus_tables(dialect)
    for table, row in corpus.rows(1):
        yield table, dict(zip(names[table], row, strict=True))


def _corpus_tables(_dialect: DialectName) -> Mapping[str, Sequence[str]]:
    return {table: [*generator.TABLES[table]] for table in ("customers", "orders", "employees")}


def _grammar_rows(dialect: DialectName) -> Iterator[tuple[str, dict[str, object]]]:
    types = FLAVOURS[dialect].types
    tables = FLAVOURS[dialect].tables()
    for table, row in grammar_rows(12):
        if table in tables:
            kinds = TABLES[table]
            yield table, {c: v for (c, k), v in zip(kinds.items(), row, strict=True) if k in types}


def _grammar_statement(choose: Choose, dialect: DialectName) -> str:
    sql = any_statement(choose, FLAVOURS[dialect])
    # The time goes on between one twin and the other.
    return _CLOCK.sub("TIMESTAMP '2026-03-01 10:00:00'" if dialect != "sqlite" else "'2026-03-01 10:00:00'", sql)


SCHEMAS: Mapping[str, Schema] = {
    "corpus": Schema(
        name="corpus",
        protected={
            "customers": {
                "email": Protected("text", _FULL, {"mask": "email"}),
                "ssn": Protected("text", _NULL, {"mask": "partial", "first": 1, "last": 1}),
                "credit": Protected("int", _fixed(21), {"mask": "bucket", "size": 10}),
            },
            "employees": {"salary": Protected("int", _FULL, {"mask": "round", "digits": -1})},
        },
        filters={"customers": "region = principal.region"},
        ddl=lambda dialect: corpus.statements(dialect),
        tables=_corpus_tables,
        rows=_corpus_rows,
        make=lambda choose, dialect: generator.statement(choose, dialect),
        extra={},
    ),
    "grammar": Schema(
        name="grammar",
        protected={
            "customers": {
                "email": Protected("text", _FULL, {"mask": "partial", "first": 1, "last": 1}),
                "credit": Protected("int", _fixed(7), {"mask": "bucket", "size": 50}),
                "born": Protected("date", _NULL, {"mask": "date", "to": "month"}),
                "profile": Protected("json", _FULL),
                "scores": Protected("arr", _NULL),
            },
            "orders": {
                "amount": Protected("num", _fixed(21), {"mask": "bucket", "size": 20}),
                "detail": Protected("json", _NULL),
            },
            "Order Lines": {
                "Sku": Protected("text", _fixed("sku"), {"mask": "email"}),
                "Qty": Protected("int", _FULL, {"mask": "round", "digits": -1}),
            },
            "employees": {"salary": Protected("unique", _FULL), "Dept": Protected("text", _NULL, {"mask": "partial", "last": 2})},
            "events": {"kind": Protected("text", _FULL, {"mask": "partial", "first": 2}), "payload": Protected("json", _FULL)},
            "sales.targets": {"goal": Protected("num", _FULL, {"mask": "round", "digits": -1})},
        },
        filters={"customers": "region = principal.region", "orders": "region = principal.region OR region IS NULL"},
        ddl=lambda dialect: ddl(FLAVOURS[dialect]),
        tables=lambda dialect: FLAVOURS[dialect].tables(),
        rows=_grammar_rows,
        make=_grammar_statement,
        extra={
            "postgres": ("CREATE UNIQUE INDEX employees_salary ON employees (salary)", "CREATE INDEX orders_amount ON orders (amount, status)"),
            "sqlite": ("CREATE UNIQUE INDEX employees_salary ON employees (salary)", "CREATE INDEX orders_amount ON orders (amount, status)"),
            "mysql": ("CREATE UNIQUE INDEX employees_salary ON employees (salary)", "CREATE INDEX orders_amount ON orders (amount, status)"),
            "duckdb": ("CREATE UNIQUE INDEX employees_salary ON employees (salary)",),
        },
    ),
}  # fmt: skip
