"""What a change would do, found out before anybody is asked to approve it: rehearsed and rolled back, or estimated.

A rehearsal runs the change under the engine's own lock-down and rolls it back; it locks the rows for that long and uses up numbers of
sequences. What cannot be rehearsed (a schema change, a table that cannot roll back) is estimated by counting the rows that it would
find, in a transaction that may only read. Nobody but approvers may be told: what the requester learnt would be an answer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import replace

from guardrails.engines import Engine
from guardrails.errors import Denied, EngineError, GuardrailsError
from guardrails.model import ApprovalTerms, Catalog, Impact, Plan, RelationUse, Value
from guardrails.sql import CountQuery, count_queries, stored_rows

__all__ = ["impact_of"]

_LOGGER = logging.getLogger(__name__)
_REHEARSAL_S = 5.0
"""Longest time for which a rehearsal may hold its locks."""
_ESTIMATE_S = 2.0
_DATA_ACTIONS = frozenset({"select", "insert", "update", "delete", "merge"})
_WHOLE = ("alter", "drop", "truncate")
"""Schema changes that may concern every row of a relation."""


def impact_of(engine: Engine, plan: Plan | None, terms: ApprovalTerms) -> Impact | None:
    """Finds out what a plan would change; nothing of it stays, and nothing is raised.

    Args:
        engine: The database.
        plan: What would run once approved; None for an action that is no statement.
        terms: How to find out: `impact` is `count`, `estimate` or `none`.

    Returns:
        The rows by relation; None where nothing is to be found out. `error` is the code of what went wrong: of a rehearsal, whose rows
        are then estimated where that is possible, or of the estimate.
    """
    if plan is None or plan.is_read_only or plan.is_explain or terms.impact == "none":
        return None
    try:
        ready = _looked_up(engine, plan)
        if terms.impact == "count" and set(plan.actions) <= _DATA_ACTIONS:
            return _rehearsed(engine, ready)
        return _estimated(engine, ready)
    except GuardrailsError as error:
        return Impact(is_estimated=True, error=error.code)
    except Exception as error:  # noqa: BLE001 - a person is asked all the same, and told that nothing is known
        # Its text may hold data.
        _LOGGER.warning("The impact of a change could not be found out: %s", type(error).__name__)
        return Impact(is_estimated=True, error="usage.bug")


def _rehearsed(engine: Engine, plan: Plan) -> Impact:
    try:
        execution = engine.rehearse(_within(plan, _REHEARSAL_S))
    except EngineError as error:
        if error.code == "engine.schema_changed":
            raise
        return _after(engine, plan, error)
    return Impact(_summed(execution.changed_by))


def _after(engine: Engine, plan: Plan, failed: EngineError) -> Impact:
    """An estimate in place of a rehearsal that failed, whose code is kept."""
    try:
        return replace(_estimated(engine, plan), error=failed.code)
    except GuardrailsError:
        return Impact(is_estimated=True, error=failed.code)


def _estimated(engine: Engine, plan: Plan) -> Impact:
    catalog = engine.catalog()
    if not set(plan.actions) <= _DATA_ACTIONS:
        rows = [(key, _counted(engine, plan, query)) for key, query in _stored(plan, catalog)]
    else:
        rows = [(query.relation, _counted(engine, plan, query)) for query in count_queries(plan, catalog)]
    return Impact(_summed(rows), is_estimated=True)


def _stored(plan: Plan, catalog: Catalog) -> Iterable[tuple[str, CountQuery]]:
    """How to count the rows of relations that a schema change concerns as a whole."""
    for key in sorted({u.relation for u in plan.relations if u.action in _WHOLE}):
        relation = catalog.relations.get(key)
        if relation is not None and relation.kind == "table":
            yield key, stored_rows(key, catalog)


def _counted(engine: Engine, plan: Plan, query: CountQuery) -> int:
    if not query.sql:
        return query.rows
    reading = replace(
        plan,
        sql=query.sql,
        params=query.params or {},
        actions=("select",),
        relations=tuple(RelationUse(key, "select") for key in sorted({u.relation for u in plan.relations})),
        writes=(),
        index_use="any",
    )
    try:
        return _number(engine.execute(_within(reading, _ESTIMATE_S)).rows[0][0])
    except EngineError as error:
        if error.code != "engine.timeout" or plan.dialect != "postgres":
            raise
        explained = replace(
            reading, sql=f"EXPLAIN (FORMAT JSON) {query.plain}", params=query.plain_params or {}, is_explain=True
        )
        return _expected(engine.execute(_within(explained, _ESTIMATE_S)).rows[0][0])


def _looked_up(engine: Engine, plan: Plan) -> Plan:
    """Binds the values behind the tokens that a change would store.

    Raises:
        Denied: A token stands for no value, or for several (mask.token_unknown).
    """
    params: dict[str, Value] = dict(plan.params)
    for name, lookup in plan.lookups:
        rows = engine.execute(lookup).rows
        if len(rows) != 1 or rows[0][0] is None:
            raise Denied("mask.token_unknown", "A token stands for no value, or for several.")
        params[name] = rows[0][0]
    return replace(plan, params=params, lookups=())


def _within(plan: Plan, seconds: float) -> Plan:
    return replace(plan, limits=replace(plan.limits, seconds=min(plan.limits.seconds, seconds)))


def _summed(rows: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Rows by relation, of those in which any would change."""
    found: dict[str, int] = {}
    for relation, count in rows:
        found[relation] = found.get(relation, 0) + count
    return tuple(sorted((relation, count) for relation, count in found.items() if count))


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise EngineError("engine.failed", "The database did not count.")
    return value


def _expected(plan: Value) -> int:
    """The rows that PostgreSQL's planner expects; see https://www.postgresql.org/docs/current/using-explain.html."""
    read = json.loads(plan) if isinstance(plan, str) else plan
    match read:
        case [{"Plan": {"Plan Rows": int() | float() as rows}}, *_]:
            return int(rows)
    raise EngineError("engine.failed", "The database's estimate is not understood.")
