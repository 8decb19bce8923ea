"""The engines decide: what runs answers what was asked, reads what `Access` says, and shows nothing of what is masked.

Seeds are fixed so that a failure can be run again; `-m fuzz` runs many more (GUARDRAILS_FUZZ statements, 20,000 by default).
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrails.model import Obligations
from tests.support.corpus import queries
from tests.support.generator import seeded, statement
from tests.support.twins import FILTERED, HIDING, MASKED, ROWS_ONLY, Database

Twins = tuple[Database, Database]
_COUNT = 200
_FUZZ = int(os.environ.get("GUARDRAILS_FUZZ", "20000"))


def _is_error(answer: tuple[object, ...]) -> bool:
    return answer[0] in ("error", "refused")


def _is_late(answer: tuple[object, ...]) -> bool:
    """A statement that takes longer than the limit says nothing either way; some generated joins do on a busy machine."""
    return answer[:2] == ("error", "engine.timeout")


def _check_fidelity(database: Database, sql: str) -> None:
    asked, answered = database.raw(sql), database.guarded(sql)
    if _is_late(answered):
        return
    if asked[0] != "error" and answered[0] not in ("refused", "truncated"):
        assert answered == asked, f"{database.dialect}: {sql}\n{database.plan(sql).sql}"


def _check_noninterference(twins: Twins, sql: str, *, under: tuple[Obligations, ...] = (MASKED, FILTERED)) -> None:
    for obligations in under:
        one, two = (database.guarded(sql, obligations) for database in twins)
        if _is_late(one) or _is_late(two):
            continue
        assert one == two, f"{twins[0].dialect}: {sql}\n{twins[0].plan(sql, obligations).sql}"


def test_corpus_is_allowed_and_answers_the_same(twins: Twins) -> None:
    for sql in queries(twins[0].dialect):
        asked = twins[0].raw(sql)
        assert asked[0] != "error", f"the corpus has a statement that {twins[0].dialect} refuses: {sql}: {asked}"
        assert twins[0].guarded(sql) == asked, sql


def test_corpus_shows_nothing_of_protected_values(twins: Twins) -> None:
    for sql in queries(twins[0].dialect):
        _check_noninterference(twins, sql)


def test_corpus_runs_masked(twins: Twins) -> None:
    failing = [sql for sql in queries(twins[0].dialect) if _is_error(twins[0].guarded(sql, MASKED))]
    assert failing == []


def test_generated_statements_answer_the_same(twins: Twins) -> None:
    for seed in range(_COUNT):
        _check_fidelity(twins[0], statement(seeded(seed), twins[0].dialect))


def test_generated_statements_show_nothing_of_protected_values(twins: Twins) -> None:
    for seed in range(_COUNT):
        _check_noninterference(twins, statement(seeded(seed), twins[0].dialect))


def test_hidden_nulls_are_not_told_from_values(twins: Twins) -> None:
    """The twins differ in which values are NULL, too; without the option they answer otherwise."""
    for sql in (*queries(twins[0].dialect), *(statement(seeded(seed), twins[0].dialect) for seed in range(_COUNT // 2))):
        _check_noninterference(twins, sql, under=(HIDING,))
    kept = tuple(replace(m, options=tuple(o for o in m.options if o[0] != "nulls")) for m in HIDING.masks)
    one, two = (d.guarded("SELECT count(credit), count(email) FROM customers", replace(HIDING, masks=kept)) for d in twins)
    assert one != two


@pytest.mark.parametrize("dialect", ["sqlite", "postgres", "mysql"])
def test_shrunk_noninterference(dialect: str, request: pytest.FixtureRequest) -> None:
    twins: Twins = request.getfixturevalue(f"{dialect}_twins")

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        sql = statement(lambda n: data.draw(st.integers(0, n - 1)), dialect)
        _check_noninterference(twins, sql)
        _check_fidelity(twins[0], sql)

    check()


def test_the_harness_sees_a_leak(twins: Twins) -> None:
    """Without masks the twins differ: the comparison is able to fail."""
    assert twins[0].guarded("SELECT email FROM customers ORDER BY id") != twins[1].guarded(
        "SELECT email FROM customers ORDER BY id"
    )
    one, two = (d.guarded("SELECT sum(credit) FROM customers") for d in twins)
    assert one != two


def test_sqlite_reads_no_column_that_access_lacks(sqlite_twins: Twins) -> None:
    """SQLite's authorizer is asked for every column; the plan's list alone must satisfy it."""
    ran = 0
    for seed in range(_COUNT):
        sql = statement(seeded(seed), "sqlite")
        if sqlite_twins[0].raw(sql)[0] == "error":
            continue
        for obligations in (MASKED, FILTERED):
            answer = sqlite_twins[0].guarded(sql, obligations)
            assert answer[:2] != ("error", "engine.refused"), sql
            ran += answer[0] not in ("error", "refused")
    assert ran > _COUNT / 2
    plan = sqlite_twins[0].plan("SELECT name FROM customers")
    hostile = replace(plan, sql='SELECT "ssn" FROM "main"."customers"')
    assert sqlite_twins[0].run(hostile)[:2] == ("error", "engine.refused")


def _check_hidden(one: Database, two: Database, sql: str) -> None:
    """The databases differ in rows that the filter hides: a different plan may order rows differently, and nothing else."""
    first, second = (d.guarded(sql, ROWS_ONLY) for d in (one, two))
    if "LIMIT" in sql or "FETCH" in sql or "OVER" in sql:
        assert first[0] == second[0], sql
        return
    assert _as_set(first) == _as_set(second), f"{one.dialect}: {sql}\n{one.plan(sql, ROWS_ONLY).sql}"


def _as_set(answer: tuple[object, ...]) -> object:
    return (answer[0], sorted(map(repr, answer[1]))) if isinstance(answer[1], tuple) else answer


def test_hidden_rows_do_not_show(twins: Twins, hidden_twin: Database) -> None:
    for sql in queries(twins[0].dialect):
        _check_hidden(twins[0], hidden_twin, sql)
    for seed in range(_COUNT):
        _check_hidden(twins[0], hidden_twin, statement(seeded(seed), twins[0].dialect))
    # Division by zero is NULL in MySQL, which knows numbers that are too large.
    risk = "9223372036854775807 + (credit = 77)" if twins[0].dialect == "mysql" else "1 / (credit - 77)"
    probe = f"SELECT id FROM customers WHERE {risk} > -100 ORDER BY id"
    assert hidden_twin.raw(probe) != twins[0].raw(probe)
    assert hidden_twin.guarded(probe, ROWS_ONLY) == twins[0].guarded(probe, ROWS_ONLY)


@pytest.mark.fuzz
def test_many_generated_statements(twins: Twins) -> None:
    for seed in range(1_000_000, 1_000_000 + _FUZZ):
        sql = statement(seeded(seed), twins[0].dialect)
        _check_fidelity(twins[0], sql)
        _check_noninterference(twins, sql)
