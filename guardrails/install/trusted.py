"""Which of what stands in the database is what the policy asks for now, so that statements may use it. Pure.

A view or a column counts when what the policy and the schema ask for today, and everything that the engine tells of it, bear the seal;
the guard asks anew whenever the schema's version changes, and the engine compares the version around each statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from guardrails.errors import StatementError
from guardrails.install.report import Installed, State
from guardrails.install.seal import Seal, seal_key, seal_of
from guardrails.install.wanted import WantedColumn, WantedView, wanted_columns, wanted_views
from guardrails.model import Mask, PlacedColumn, PlacedView
from guardrails.policy import BoundPolicy
from guardrails.sql.barriers import Barrier, Placements, barrier_query, probe_query

__all__ = ["judge_column", "judge_view", "trusted"]


def trusted(policy: BoundPolicy, mask_key: bytes) -> Placements:
    """Returns what the rewriter may use.

    Args:
        policy: Bound to the catalog of the database, which says what stands there.
        mask_key: The key with which it was set up.
    """
    placed = {view.name: view for view in policy.catalog.placed}
    own = policy.catalog.placed_columns
    barriers: dict[tuple[str, tuple[str, ...]], Barrier] = {}
    for wanted in wanted_views(policy, own) if placed else ():
        if judge_view(wanted, placed, mask_key).state == "verified":
            seal = Seal.parse(placed[wanted.name].comment)
            _, slots = probe_query(wanted.relation, wanted.predicates)
            barriers[wanted.key, wanted.predicates] = Barrier(wanted.name, slots, seal.types if seal else ())
    columns: dict[Mask, str] = {}
    for column in wanted_columns(policy, mask_key) if own else ():
        if judge_column(column, own, mask_key).state == "verified":
            columns[column.mask] = column.name
    return Placements(barriers, columns)


def judge_view(wanted: WantedView, placed: Mapping[str, PlacedView], mask_key: bytes) -> Installed:
    """Says how the view that a policy asks for stands: `verified`, `missing` or `changed`, with the reason."""

    def found(state: State, reason: str = "", sql: str = "") -> Installed:
        return Installed(wanted.key, wanted.name, state, reason, sql)

    view = placed.get(wanted.name)
    if view is None:
        return found("missing", "There is no such view.")
    seal = Seal.parse(view.comment)
    if seal is None:
        return found("changed", "It bears no seal.")
    if not view.is_plain:
        return found("changed", "It is no plain view with a security barrier.")
    if view.base != (wanted.relation.schema, wanted.relation.name):
        return found("changed", "It is over another relation.")
    if [name for name, _ in view.columns] != [*wanted.relation.column_names, *wanted.own]:
        return found("changed", "It has other columns than the relation.")
    try:
        query = barrier_query(wanted.relation, wanted.predicates, seal.types, wanted.own)
    except StatementError as error:
        return found("changed", error.message)
    if not seal.fits(seal_of(view, query, seal.types, seal_key(mask_key))):
        return found("changed", "It is not what was set up, or was set up with another key.")
    if not view.is_readable:
        return found("changed", "The guard's role may not read it or its relation, or row-level security holds there.")
    return found("verified", sql=query)


def judge_column(wanted: WantedColumn, placed: Iterable[PlacedColumn], mask_key: bytes) -> Installed:
    """Says how the generated column that a mask asks for stands; as `judge_view`."""
    column = next((c for c in placed if (*c.base, c.name) == (wanted.relation.schema, wanted.relation.name, wanted.name)), None)

    def found(state: State, reason: str = "") -> Installed:
        return Installed(wanted.key, wanted.name, state, reason)

    if column is None:
        return found("missing", "There is no such column.")
    seal = Seal.parse(column.comment)
    if seal is None:
        return found("changed", "It bears no seal.")
    if not column.is_plain or column.type.lower() != wanted.type:
        return found("changed", "It is no stored generated column of the type, or its table shares rows with another.")
    if not seal.fits(seal_of(column, wanted.expression, (), seal_key(mask_key))):
        return found("changed", "It is not what was set up, or was set up with another key.")
    return found("verified")
