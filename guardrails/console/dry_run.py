"""The dry run: what would be decided about a statement, for whom, and what would happen to each name in it.

Nothing runs and nothing is recorded. Whoever may see the whole policy sees the whole answer, for any principal; everybody else asks as
themselves and sees what their own rules let them know: no name that the guard would not tell them, no predicate of a row filter, and
not the text that would run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from guardrails.as_json import decision_fields
from guardrails.codes import CODES
from guardrails.console.colouring import Colours, Piece, colours_of, pieces
from guardrails.console.known import known_catalog
from guardrails.errors import CatalogError, StatementError
from guardrails.guard import Guard
from guardrails.model import Access, Catalog, ColumnRef, Decision, Params, Principal, Reason, RowFilter, Statement
from guardrails.policy import BoundPolicy
from guardrails.sql import parse, resolve
from guardrails.sql.places import name_places

__all__ = ["Asked", "DryRun", "dry_run"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is tried, and as whom."""

    sql: str
    principal: Principal
    params: Params = field(default_factory=dict)
    agent: str | None = None
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class DryRun:
    """The answer, as its reader may see it.

    Args:
        decision: What would be decided.
        colours: What would happen to every relation and column.
        pieces: The statement's text, cut at the names.
        is_whole: Nothing was left out for the reader.
    """

    decision: Decision
    colours: Colours
    pieces: tuple[Piece, ...]
    is_whole: bool

    @property
    def fields(self) -> dict[str, Any]:
        """The decision as JSON fields, those of `guardrails check`."""
        fields = decision_fields(None, self.decision)
        del fields["id"]
        for obligation in fields["obligations"]:
            if obligation["type"] == "rows" and not self.is_whole:
                del obligation["predicate"]
        return fields


def dry_run(guard: Guard, asked: Asked, *, is_whole: bool) -> DryRun:
    """Decides about a statement without running or recording anything.

    Args:
        guard: The guarded database.
        asked: The statement, and on whose behalf.
        is_whole: The reader may see the whole policy and schema.

    Raises:
        IdentityError: The principal has no id, or has expired.
    """
    policy = guard.bound_policy()
    statement = Statement(asked.sql, asked.params, guard.database.dialect)
    if asked.purpose is not None and policy.purposes and asked.purpose not in policy.purposes:
        # No session can be opened for it, so nothing would be run for it either.
        reason = Reason(
            "policy.purpose_unknown", "The purpose is not declared in the policy.", CODES["policy.purpose_unknown"].hint
        )
        return _plain(asked, Decision("deny", (reason,), policy_digest=policy.digest), is_whole=is_whole)
    with guard.session(principal=asked.principal, agent=asked.agent, purpose=asked.purpose) as session:
        seen = policy.catalog if is_whole else known_catalog(policy, asked.principal, session.context, text=asked.sql)
        known = None if is_whole else _understood(statement, policy, seen)
        if isinstance(known, Reason):
            return _plain(asked, Decision("deny", (known,), policy_digest=policy.digest), is_whole=False)
        decision = guard.check(asked.sql, asked.params)
    judged = decision.access
    if judged is None or not judged.relations:
        return _plain(asked, decision if is_whole else _told(decision, known, seen), is_whole=is_whole)
    access = known or judged
    colours = colours_of(access, decision, policy, asked.principal, session.context, judged=judged)
    if not is_whole:
        decision = _told(decision, access, seen)
        colours = Colours(tuple(replace(relation, filters=("",) * bool(relation.filters)) for relation in colours.relations))
    return DryRun(decision, colours, pieces(asked.sql, name_places(statement, seen, policy.limits), colours), is_whole)


def _understood(statement: Statement, policy: BoundPolicy, known: Catalog) -> Access | Reason:
    """What a statement does to what its author may know of, or why it means nothing there: as the guard says it of other names."""
    try:
        return resolve(parse(statement, policy.limits), known).access
    except (StatementError, CatalogError) as error:
        return Reason(error.code, error.message, error.hint)


def _plain(asked: Asked, decision: Decision, *, is_whole: bool) -> DryRun:
    return DryRun(decision, Colours(), (Piece(asked.sql),), is_whole)


def _told(decision: Decision, access: Access | None, known: Catalog) -> Decision:
    """The decision without the text that would run, and without names that its reader may not know of."""
    obligations = decision.obligations

    def is_known(column: ColumnRef) -> bool:
        relation = known.relations.get(column.relation)
        return relation is not None and column.column in relation.column_names

    return replace(
        decision,
        access=access,
        sql=None,
        obligations=replace(
            obligations,
            masks=tuple(mask for mask in obligations.masks if is_known(mask.column)),
            row_filters=tuple(RowFilter(f.relation, "") for f in obligations.row_filters if f.relation in known.relations),
            lifted=tuple(column for column in obligations.lifted if is_known(column)),
        ),
    )
