"""What a policy lets be asked of real values: the engines say that the answers are right, and that nothing else comes with them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from guardrails.masking.types import column_type
from guardrails.model import Mask, Obligations, PredicateMode, RowFilter, Value
from tests.support.twins import LIMITS, MASKED, Database

Twins = tuple[Database, Database]
_COUNT = 150
_CONDITIONS = (
    "c.email = '{text}'", "c.email <> '{text}'", "'{text}' = c.email", "c.email IN ('{text}', '{other}')",
    "c.email NOT IN ('{text}')", "(c.email) = '{text}'", "c.credit = {number}", "c.credit <> {number}", "c.credit IN (0, {number})",
    "c.ssn = '{text}'",
)  # fmt: skip
_REAL_CONDITIONS = (
    "c.email LIKE '{letter}%'", "c.email NOT LIKE '%{letter}%'", "c.email < '{letter}'", "c.email BETWEEN 'a' AND '{letter}'",
    "lower(c.email) = '{text}'", "upper(c.email) LIKE '{letter}%'", "c.email IS NULL", "c.email IS NOT NULL", "c.credit > {number}",
    "c.credit <= {number}", "c.credit BETWEEN 0 AND {number}", "c.credit NOT BETWEEN 5 AND {number}", "{number} >= c.credit",
)  # fmt: skip
_OTHER_CONDITIONS = ("c.region = 'EU'", "c.id > 5", "o.amount > 5", "o.status = 'open'")


def lifted(database: Database, mode: PredicateMode, *, min_group: int = 0, obligations: Obligations = MASKED) -> Obligations:
    """The corpus's masks, with what the policy lets be asked of the real values."""
    masks: list[Mask] = []
    for mask in obligations.masks:
        relation = database.catalog().relations[mask.column.relation]
        column = next(c for c in relation.columns if c.name == mask.column.column)
        family = column_type(column, database.engine.dialect).family
        masks.append(replace(mask, predicate=mode, min_group=min_group, family=family))
    return replace(obligations, masks=tuple(masks))


def known(database: Database) -> dict[str, list[Value]]:
    _, rows = database.raw(
        "SELECT email, ssn, credit FROM customers WHERE email IS NOT NULL AND credit IS NOT NULL ORDER BY id"
    )
    assert isinstance(rows, tuple)
    texts = [value for row in rows for value in row[:2]]
    return {"text": texts, "number": [row[2] for row in rows]}


def condition(source: random.Random, values: dict[str, list[Value]], forms: tuple[str, ...], depth: int = 2) -> str:
    if depth and source.random() < 0.5:
        left, right = (condition(source, values, forms, depth - 1) for _ in range(2))
        text = f"({left} {source.choice(['AND', 'OR'])} {right})"
        return f"NOT {text}" if source.random() < 0.2 else text
    if source.random() < 0.2:
        return source.choice(_OTHER_CONDITIONS)
    text, other, number = source.choice(values["text"]), source.choice(values["text"]), source.choice(values["number"])
    return source.choice(forms).format(text=text, other=other, number=number, letter=source.choice("abcmxyz"))


@pytest.mark.parametrize(("mode", "forms"), [("equality", _CONDITIONS), ("real", _CONDITIONS + _REAL_CONDITIONS)])
def test_permitted_conditions_are_answered_as_the_engine_answers_them(
    twins: Twins, mode: PredicateMode, forms: tuple[str, ...]
) -> None:
    database, source, values = twins[0], random.Random(11), known(twins[0])
    obligations = lifted(database, mode)
    probing = 0
    for _ in range(_COUNT):
        join = source.choice(["JOIN", "LEFT JOIN"])
        on = f"o.customer_id = c.id AND {condition(source, values, forms, 1)}"
        where = condition(source, values, forms)
        sql = f"SELECT o.id, c.id AS c FROM orders o {join} customers c ON {on} WHERE {where} ORDER BY o.id, c.id"
        asked = database.raw(sql)
        assert database.guarded(sql, obligations) == asked, f"{database.dialect}: {sql}\n{database.plan(sql, obligations).sql}"
        probing += "gr_hidden" in database.plan(sql, obligations).sql
    assert probing > _COUNT / 2


@pytest.mark.parametrize("mode", ["equality", "real"])
def test_bound_values_are_answered_too(twins: Twins, mode: PredicateMode) -> None:
    database = twins[0]
    text = str(known(database)["text"][0])
    for sql in (
        f"SELECT id, name FROM customers WHERE email = '{text}'",
        f"SELECT id, name, 1 AS email FROM customers c WHERE c.email = '{text}'",
        f"SELECT count(*) FROM customers WHERE id IN (SELECT id FROM customers WHERE email = '{text}')",
        f"SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = o.customer_id AND c.email = '{text}') ORDER BY id",
        f"WITH w AS (SELECT id FROM customers WHERE email = '{text}') SELECT count(*) FROM w",
        f"SELECT id FROM customers WHERE email = '{text}' UNION SELECT id FROM employees ORDER BY 1",
    ):
        assert database.guarded(sql, lifted(database, mode)) == database.raw(sql), sql


def test_a_selected_column_stays_masked_beside_its_condition(twins: Twins) -> None:
    database = twins[0]
    text = str(known(database)["text"][0])
    sql = f"SELECT id, email FROM customers WHERE email = '{text}'"
    _, rows = database.guarded(sql, lifted(database, "equality"))
    _, real = database.raw(sql)
    assert isinstance(rows, tuple)
    assert isinstance(real, tuple)
    assert [row[0] for row in rows] == [row[0] for row in real] != []
    assert {row[1] for row in rows} == {"***"}


_TELLING = (
    "SELECT id FROM customers WHERE email LIKE 'a%' ORDER BY id", "SELECT id FROM customers WHERE email < 'm' ORDER BY id",
    "SELECT id FROM customers WHERE length(email) > 14 ORDER BY id", "SELECT id FROM customers WHERE lower(email) = 'a' ORDER BY id",
    "SELECT id FROM customers WHERE credit + 0 = 21 ORDER BY id", "SELECT id FROM customers WHERE credit > 10 ORDER BY id",
    "SELECT id FROM customers WHERE credit BETWEEN 5 AND 21 ORDER BY id", "SELECT id FROM customers WHERE email IS NULL ORDER BY id",
    "SELECT id, email = 'x' AS e FROM customers ORDER BY id", "SELECT id FROM customers ORDER BY credit = 21, id",
    "SELECT id FROM customers WHERE CASE WHEN credit = 21 THEN 1 ELSE 0 END = 1 ORDER BY id",
    "SELECT a.id, b.id FROM customers a JOIN customers b ON a.credit = b.credit AND a.id < b.id ORDER BY 1, 2",
    "SELECT count(*) FROM customers GROUP BY credit = 21 ORDER BY 1", "SELECT id FROM customers WHERE credit = id ORDER BY id",
    "SELECT id FROM customers WHERE credit = (SELECT 21) ORDER BY id", "SELECT id FROM customers WHERE credit IN (SELECT 21) ORDER BY id",
    "SELECT count(*) FROM customers HAVING max(credit) = 100", "SELECT id FROM customers c WHERE (credit, id) = (21, 5) ORDER BY id",
    "SELECT t.id FROM (SELECT id, credit AS k FROM customers) t WHERE t.k = 21 ORDER BY t.id",
    "SELECT id FROM customer_mails WHERE mail = 'a' ORDER BY id", "SELECT sum(credit) FROM customers", "SELECT max(ssn) FROM customers",
)  # fmt: skip


def test_equality_answers_nothing_but_equality(twins: Twins) -> None:
    """Twins differ in every protected value: whatever the answer depended on, it would show."""
    for sql in _TELLING:
        one, two = (database.guarded(sql, lifted(database, "equality")) for database in twins)
        assert one == two, f"{twins[0].dialect}: {sql}"
    told = "SELECT id FROM customers WHERE credit = 21 ORDER BY id"
    assert len({database.guarded(told, lifted(database, "equality")) for database in twins}) == 2


def test_rows_of_a_range_do_not_come_in_the_order_of_the_values(twins: Twins) -> None:
    for sql in (
        "SELECT id FROM customers WHERE email > ''",
        "SELECT id FROM customers WHERE email LIKE '%@%' AND email IS NOT NULL",
    ):
        _, rows = twins[0].guarded(sql, lifted(twins[0], "real"))
        assert isinstance(rows, tuple)
        assert [row[0] for row in rows] == sorted(row[0] for row in rows), sql


def test_aggregates_of_large_groups_are_of_real_values(twins: Twins) -> None:
    database = twins[0]
    spread = "stddev_pop(credit)" if database.dialect in ("postgres", "duckdb", "mysql") else "sum(credit)"
    for tail in ("", " WHERE id > 6", " WHERE region <> 'US'", " WHERE id IN (SELECT customer_id FROM orders)"):
        sql = f"SELECT region, count(credit), sum(credit), avg(credit), {spread} FROM customers{tail} GROUP BY region ORDER BY region"
        (_, real), (_, seen) = database.raw(sql), database.guarded(sql, lifted(database, "masked", min_group=4))
        assert isinstance(real, tuple)
        assert isinstance(seen, tuple)
        for asked, answered in zip(real, seen, strict=True):
            expected = asked if asked[1] >= 4 else (asked[0], *(None for _ in asked[1:]))
            assert answered == expected, f"{sql}: {asked} {answered}"
        assert any(row[1] is not None for row in seen)
    assert database.guarded("SELECT avg(credit) FROM customers WHERE id = 7", lifted(database, "masked", min_group=4))[1] == (
        (None,),
    )


_SINGLING_OUT = (
    "SELECT c.id, avg(d.credit) FROM customers c JOIN customers d ON d.id = c.id GROUP BY c.id",
    "SELECT avg(c.credit) FROM customers c CROSS JOIN orders o WHERE c.id = 3",
    "SELECT (SELECT sum(d.credit) FROM customers d WHERE d.id <> c.id) FROM customers c",
    "SELECT id, sum(credit) OVER (ORDER BY id) FROM customers",
    "SELECT (SELECT sum(d.credit) AS k FROM customers d WHERE d.id <> k) FROM (SELECT id AS k FROM customers) x"
    " JOIN (SELECT id AS k FROM orders) y USING (k)",
    "SELECT o.id FROM orders o WHERE (SELECT sum(credit) FROM customers d WHERE d.id <> o.customer_id) > 5",
    "WITH RECURSIVE n(i, s) AS (SELECT 1, 0.0 UNION ALL SELECT i + 1, (SELECT sum(credit) FROM customers WHERE id <> i) FROM n"
    " WHERE i < 5) SELECT * FROM n",
)


def test_aggregates_that_could_single_rows_out_are_refused(twins: Twins) -> None:
    forms = list(_SINGLING_OUT)
    if twins[0].dialect in ("postgres", "duckdb"):
        forms.append("SELECT region, sum(credit) FROM customers GROUP BY ROLLUP (region)")
        forms.append(
            "SELECT c.id, t.s FROM customers c, LATERAL (SELECT sum(d.credit) AS s FROM customers d WHERE d.id <> c.id) t"
        )
    if twins[0].dialect != "mysql":
        forms.append("SELECT sum(credit) FILTER (WHERE id = 3) FROM customers")
    for sql in forms:
        answer = twins[0].guarded(sql, lifted(twins[0], "masked", min_group=4))
        assert answer[0] == "refused", (sql, answer)
        assert answer[1] in ("mask.group_unsupported", "sql.construct_unsupported", "sql.column_unknown"), (sql, answer)


def test_a_forbidden_aggregate_stays_one_of_masked_values(twins: Twins) -> None:
    for sql in (
        "SELECT min(credit), max(credit) FROM customers",
        "SELECT sum(credit * 2) FROM customers",
        "SELECT sum(DISTINCT credit) FROM customers",
    ):
        one, two = (database.guarded(sql, lifted(database, "masked", min_group=2)) for database in twins)
        assert one == two, sql


def test_hidden_rows_are_not_asked_about(twins: Twins) -> None:
    database = twins[0]
    filters = (RowFilter("customers", "region = principal.region", (("region", "EU"),)),)
    obligations = replace(lifted(database, "real", min_group=2), row_filters=filters, limits=LIMITS)
    asked = database.raw("SELECT count(*) FROM customers WHERE region = 'EU' AND credit > 10")
    assert database.guarded("SELECT count(*) FROM customers WHERE credit > 10", obligations)[1] == asked[1]
    real = database.raw("SELECT sum(credit), count(credit) FROM customers WHERE region = 'EU'")[1]
    assert database.guarded("SELECT sum(credit), count(credit) FROM customers", obligations)[1] == real


def test_a_whole_row_does_not_show_hidden_columns(postgres_twins: Twins) -> None:
    database = postgres_twins[0]
    for whole in ("row_to_json(c)", "c::text", "count(c.*)"):
        answer = database.guarded(f"SELECT {whole} FROM customers c WHERE c.email = 'x'", lifted(database, "equality"))
        assert answer[:2] == ("refused", "mask.unsupported")


def test_explain_does_not_tell_how_many_rows_a_condition_finds(twins: Twins) -> None:
    sql = (
        "EXPLAIN SELECT id FROM customers WHERE email = 'x'"
        if twins[0].dialect != "sqlite"
        else "EXPLAIN QUERY PLAN SELECT id FROM customers WHERE email = 'x'"
    )
    assert twins[0].guarded(sql, lifted(twins[0], "equality"))[0] == "refused"
