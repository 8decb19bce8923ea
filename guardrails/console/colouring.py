"""What happens to every relation and column of a statement: read, masked, lifted, denied or written, and which rows are left out.

Taken from the decision itself, and where it is a refusal from what would be decided about each name alone. Pure; for people who look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from guardrails.model import Access, ColumnRef, Context, Decision, Mask, Principal
from guardrails.policy import BoundPolicy, decide
from guardrails.policy.obligations import masks_for, row_filters_for
from guardrails.sql.places import NamePlace

__all__ = ["ColouredColumn", "ColouredRelation", "Colours", "Fate", "Piece", "colours_of", "pieces"]

Fate: TypeAlias = Literal["denied", "masked", "lifted", "written", "read"]
"""What happens to a name; the one that weighs most comes first."""
_FATES: tuple[Fate, ...] = ("denied", "masked", "lifted", "written", "read")


@dataclass(frozen=True, slots=True)
class ColouredColumn:
    """A column and what happens to it.

    Args:
        column: Which.
        fate: What happens to it.
        uses: What the statement does with it: ``written``, ``returned``, ``filtered``, ``joined``, ``grouped``, ``ordered``, ``read``.
        mask: Kind of the mask that holds where it is read, empty without one.
        exception: What of real values conditions and aggregates may still learn, in words; empty for nothing.
    """

    column: ColumnRef
    fate: Fate
    uses: tuple[str, ...]
    mask: str = ""
    exception: str = ""


@dataclass(frozen=True, slots=True)
class ColouredRelation:
    """A relation and what happens to it.

    Args:
        relation: Its key.
        fate: What happens to it as a whole.
        actions: What is done to it.
        via: The views through which it is reached; empty where the statement names it.
        filters: The predicates of the row filters that hold for it.
        columns: Its columns that the statement touches.
    """

    relation: str
    fate: Fate
    actions: tuple[str, ...]
    via: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    columns: tuple[ColouredColumn, ...] = ()


@dataclass(frozen=True, slots=True)
class Colours:
    """What happens to everything that a statement touches, by relation."""

    relations: tuple[ColouredRelation, ...] = ()

    @property
    def columns(self) -> Mapping[ColumnRef, ColouredColumn]:
        """Every touched column."""
        return {column.column: column for relation in self.relations for column in relation.columns}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the statement's text, and what happens to what it names: None for everything that is no name."""

    text: str
    fate: Fate | None = None
    title: str = ""


def colours_of(
    access: Access,
    decision: Decision,
    policy: BoundPolicy,
    principal: Principal,
    context: Context,
    *,
    judged: Access | None = None,
) -> Colours:
    """Tells what happens to what a statement touches.

    Args:
        access: What is told of.
        decision: About the statement.
        policy: That decided.
        principal: On whose behalf.
        context: Agent, purpose.
        judged: All that the statement does, where less than that is to be told; `access` when None.

    Returns:
        By relation, those that the statement names first.
    """
    palette = _Palette(access, decision, policy, principal, context, judged or access)
    keys = dict.fromkeys(use.relation for use in sorted(access.relations, key=lambda use: (use.via is not None, use.relation)))
    return Colours(tuple(palette.relation(key) for key in keys))


def pieces(sql: str, places: Iterable[NamePlace], colours: Colours) -> tuple[Piece, ...]:
    """Cuts a statement's text at the names in it; the texts of all pieces together are the statement's.

    Args:
        sql: The text.
        places: Where names stand in it.
        colours: What happens to what they name; a name of anything else stays plain.
    """
    found: list[Piece] = []
    end = 0
    for place in sorted(places):
        piece = _named(sql[place.start : place.end], place, colours)
        if place.start < end or piece is None:
            continue
        found += [Piece(sql[end : place.start])] if place.start > end else []
        found.append(piece)
        end = place.end
    return (*found, Piece(sql[end:])) if end < len(sql) else tuple(found)


@dataclass(frozen=True, slots=True)
class _Palette:
    """Answers for one statement."""

    access: Access
    decision: Decision
    policy: BoundPolicy
    principal: Principal
    context: Context
    judged: Access

    def relation(self, key: str) -> ColouredRelation:
        uses = [use for use in self.access.relations if use.relation == key]
        columns = sorted({c for c in (*self.access.reads, *self.access.writes) if c.relation == key})
        actions = tuple(sorted({use.action for use in uses}))
        fate: Fate = "written" if set(actions) - {"select"} else "read"
        is_denied = self.decision.effect == "deny" and self._is_denied(key, None)
        return ColouredRelation(
            key,
            "denied" if is_denied else fate,
            actions,
            tuple(sorted({use.via for use in uses if use.via is not None})),
            tuple(predicate for relation, predicate in self._filters() if relation == key),
            tuple(self._column(column, is_denied=is_denied) for column in columns),
        )

    def _column(self, column: ColumnRef, *, is_denied: bool) -> ColouredColumn:
        mask = self._masks().get(column)
        uses = tuple(self._uses(column))
        kind = mask.kind if mask is not None and mask.kind != "deny" else ""
        fate: Fate = "read" if column in self.access.reads else "written"
        if is_denied or (self.decision.effect == "deny" and self._is_denied(column.relation, column)):
            fate = "denied"
        elif column in self.decision.obligations.lifted:
            fate = "lifted"
        elif kind and column in self.access.reads:
            fate = "masked"
        exception = _exception(mask) if mask is not None and fate == "masked" else ""
        return ColouredColumn(column, fate, uses, kind if fate == "masked" else "", exception)

    def _uses(self, column: ColumnRef) -> Iterator[str]:
        access = self.access
        if column in access.writes:
            yield "written"
        returned = {source for output in access.returned for source in output.sources}
        clauses = (returned, access.filtered, access.joined, access.grouped, access.ordered)
        named = [
            name
            for name, columns in zip(("returned", "filtered", "joined", "grouped", "ordered"), clauses, strict=True)
            if column in columns
        ]
        yield from named
        if column in access.reads and not named:
            yield "read"

    def _masks(self) -> Mapping[ColumnRef, Mask]:
        """The masks that hold; of a refusal those that would."""
        if self.decision.effect != "deny":
            return {mask.column: mask for mask in self.decision.obligations.masks}
        return {mask.column: mask for mask in masks_for(self.judged, self.policy, self.principal, self.context)}

    def _filters(self) -> Iterator[tuple[str, str]]:
        filters = self.decision.obligations.row_filters
        if self.decision.effect == "deny":
            filters, _ = row_filters_for(self.judged, self.policy, self.principal, self.context)
        for row_filter in filters:
            yield row_filter.relation, row_filter.predicate

    def _is_denied(self, key: str, column: ColumnRef | None) -> bool:
        """Whether the same would be refused for this relation and this column alone, or for the relation without any column."""
        is_named = any(use.relation == key and use.via is None for use in self.judged.relations)
        around = frozenset[str]() if is_named else self._views(key)
        behind = {use.relation for use in self.judged.relations if key in self._views(use.relation)} - {key}
        uses = tuple(
            use
            for use in self.judged.relations
            if (use.relation == key and (use.via is None or not is_named)) or use.relation in around | behind
        )

        def kept(columns: Iterable[ColumnRef]) -> tuple[ColumnRef, ...]:
            return tuple(c for c in columns if c == column or c.relation in behind)

        alone = replace(
            self.judged,
            actions=tuple(sorted({use.action for use in uses})),
            relations=uses,
            reads=kept(self.judged.reads),
            writes=kept(self.judged.writes),
        )
        return decide(alone, self.policy, self.principal, self.context).effect == "deny"

    def _views(self, key: str) -> frozenset[str]:
        """The views through which a relation is reached, directly or not."""
        found: set[str] = set()
        waiting = [key]
        while waiting:
            relation = waiting.pop()
            vias = {use.via for use in self.judged.relations if use.relation == relation and use.via is not None} - found
            found |= vias
            waiting += vias
        return frozenset(found)


def _named(text: str, place: NamePlace, colours: Colours) -> Piece | None:
    if place.relation:
        relation = next((r for r in colours.relations if r.relation == place.relation), None)
        return Piece(text, relation.fate, _relation_title(relation)) if relation is not None else None
    known = [colours.columns[column] for column in place.columns if column in colours.columns]
    if not known:
        return None
    if place.is_assigned:
        column = known[0]
        return Piece(text, "denied" if column.fate == "denied" else "written", f"{column.column} is written")
    fate = min((column.fate for column in known), key=_FATES.index)
    return Piece(text, fate, "; ".join(_column_title(column) for column in known))


def _relation_title(relation: ColouredRelation) -> str:
    filtered = "; only rows that a row filter shows" if relation.filters else ""
    return f"{relation.relation} is {relation.fate}{filtered}"


def _column_title(column: ColouredColumn) -> str:
    mask = f" ({column.mask}{', ' + column.exception if column.exception else ''})" if column.mask else ""
    return f"{column.column} is {column.fate}{mask}"


def _exception(mask: Mask) -> str:
    told = {"equality": "conditions for equality test the real value", "real": "simple conditions test the real value"}
    parts = [told[mask.predicate]] if mask.predicate in told else []
    if mask.min_group:
        parts.append(f"aggregates over {mask.min_group} rows or more are of real values")
    return ", ".join(parts)
