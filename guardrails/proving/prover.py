"""A proof, top to bottom: copy the schema, fill the twins, let the guard answer in both, compare, and shrink what differs."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from guardrails.errors import UsageError
from guardrails.flow import MaskSql
from guardrails.masking import mask_expression
from guardrails.model import Catalog, Column, Context, Mask, MaskExpression, Params, Principal
from guardrails.policy import Policy, visible
from guardrails.proving.candidates import Candidate, Origin, changes, queries, recorded
from guardrails.proving.comparing import Comparison, Twin, compare, is_order_free
from guardrails.proving.copying import Scratch, SourceSchema, Workshop, open_workshop
from guardrails.proving.copying.workshop import apply
from guardrails.proving.grammar import seeded, shrink
from guardrails.proving.hidden import Hidden, change_hidden
from guardrails.proving.protection import Protection, protection_of
from guardrails.proving.report import Difference, Report
from guardrails.proving.rows import Filled, fill
from guardrails.proving.vocabulary import Vocabulary

__all__ = ["prove"]

Progress: TypeAlias = Callable[[int, int], None]
_CONTROLS = 60
_SHOWN = 5
_KEPT = 100
"""Differences of which the shortest are shown."""
_EXAMPLES = 4
_TRIES = 250
_CHANGES = frozenset({"insert", "update", "delete"})
_CHANGES_SHARE = 5
"""One change for so many queries, where the policy allows any."""
_MOST_ROWS = 200


def prove(
    policy: str | Path | Policy,
    database: str,
    principal: Principal,
    *,
    context: Context | None = None,
    count: int = 500,
    seed: int = 1,
    rows: int = 40,
    statements: Iterable[tuple[str, Params]] = (),
    scratch: str | None = None,
    progress: Progress | None = None,
    unsafe_mask_sql: MaskSql | None = None,
) -> Report:
    """Shows on twin databases whether anything of what a policy hides from a principal comes through.

    The schema of the database is copied, never its data. Two databases are filled with generated rows that differ in nothing but what
    the policy masks for the principal, a third with other rows where a row filter hides them; statements run through the guard in
    all of them, and every answer has to be the same: columns, rows, their order, errors.

    Args:
        policy: Path of the policy file, or a `Policy`.
        database: URL of the database.
        principal: Whose view is tried.
        context: Agent and purpose; none when None.
        count: Statements to generate.
        seed: Decides about rows and statements.
        rows: Rows a table, 200 at most.
        statements: More statements, with their values.
        scratch: URL of another server for the scratch databases of PostgreSQL and MySQL.
        progress: Called with the statements done and their number.
        unsafe_mask_sql: Masks that stand in place of the library's: to see that the comparison finds a leak.

    Returns:
        The report; `is_proven` says how it ended.

    Raises:
        UsageError: A URL is wrong, no scratch database may be made (``usage.scratch_refused``), or there is nothing to prove: the policy
            hides nothing from the principal, or not one statement could be compared (``usage.nothing_proven``).
        PolicyError: The policy does not fit the database.
    """
    if not 1 <= rows <= _MOST_ROWS or count < 0:
        raise UsageError("usage.input_invalid", f"Give 1 to {_MOST_ROWS} rows a table, and no negative number of statements.")
    loaded = policy if isinstance(policy, Policy) else Policy.load(policy)
    workshop = open_workshop(database, scratch)
    try:
        prover = Prover(workshop, loaded, principal, context or Context(), seed, rows, unsafe_mask_sql)
        return prover.report(count, list(statements), progress or (lambda _done, _total: None))
    finally:
        workshop.close()


@dataclass
class _Tally:
    refused: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)


class Prover:
    """One proof: its twins, made and filled, and what was found so far."""

    def __init__(
        self,
        workshop: Workshop,
        policy: Policy,
        principal: Principal,
        context: Context,
        seed: int,
        rows: int,
        mask_sql: MaskSql | None,
    ) -> None:
        self.principal, self.context, self.seed = principal, context, seed
        self.key = secrets.token_bytes(32)
        catalog = workshop.catalog()
        self.dialect = catalog.dialect
        self.mask_sql: MaskSql = mask_sql or (lambda mask, column: mask_expression(mask, column, self.dialect, self.key))
        self.policy = policy.bind(catalog)
        self.policy.require_purpose(context.purpose)
        self.whole: Protection = protection_of(self.policy, principal, context)
        if not self.whole:
            raise UsageError("usage.nothing_proven", "The policy hides nothing in this database from this principal.")
        self.schema = workshop.read()
        self.left_out: list[tuple[str, str]] = list(self.schema.left_out)
        self._build(workshop, catalog, rows)
        self.tally = _Tally()

    def _build(self, workshop: Workshop, catalog: Catalog, rows: int) -> None:
        """Makes, fills and opens the twins."""
        has_filters = bool(self.whole.filters)
        scratches = [workshop.create() for _ in range(3 if has_filters else 2)]
        for number, scratch in enumerate(scratches):
            refused = apply(scratch, self.schema.definitions)
            if number == 0:
                self.left_out += refused
        copied = self._copied(catalog)
        self.protection = protection_of(replace(self.policy, catalog=copied), self.principal, self.context)
        for scratch in scratches:
            _require(scratch, self.schema, "before")
        count = {"count": rows, "seed": self.seed}
        self.filled: Filled = fill(scratches, copied, self.schema, self.protection, self.key, **count)
        self.hidden = Hidden({}, {}, {})
        if has_filters:
            filters, first = self.protection.filters, self.filled.first
            self.hidden = change_hidden(scratches[2], copied, self.schema, filters, first, **count)
        for scratch in scratches:
            _require(scratch, self.schema, "after")
            scratch.close()
        self.twins = [self._twin(workshop, scratch) for scratch in scratches]
        self.left_out += self.filled.refused.items()
        self.varied = frozenset(ref for ref in self.protection.masks if self.filled.differing(ref))

    def _copied(self, catalog: Catalog) -> Catalog:
        """The catalog as far as it is copied: relations that could not be made take no rows."""
        missing = {name for name, _ in self.left_out}
        relations = {
            key: relation
            for key, relation in catalog.relations.items()
            if not {relation.name, f"{relation.schema}.{relation.name}"} & missing
            # Of MySQL one database is copied; the others of the server are in its catalog as well.
            and (self.dialect != "mysql" or relation.schema == catalog.default_schema)
        }
        return replace(catalog, relations=relations)

    def _unproven(self) -> Iterator[tuple[str, str]]:
        """What the policy hides and no twin tests, with the reason."""
        for ref in self.whole.view_masks:
            yield str(ref), "only masks of tables are tried; mask the column beneath a view"
        for ref in self.whole.masks:
            is_inherited = ref.relation in self.schema.unfilled
            if not is_inherited and not self.filled.first.get(ref.relation):
                yield str(ref), "its table is not copied" if ref not in self.protection.masks else "its table took no rows"
        for name in self.whole.filters:
            if name in self.hidden.refused:
                yield name, f"its hidden rows were not changed: {self.hidden.refused[name]}"
            elif name not in self.schema.unfilled and not self.hidden.changed.get(name):
                yield name, "its filter hides none of the rows that were made"

    def _twin(self, workshop: Workshop, scratch: Scratch) -> Twin:
        engine = workshop.open(scratch)
        catalog = engine.catalog()
        # Relation keys are the same in the copy, so what the policy's names mean stays what it was.
        return Twin(engine, catalog, replace(self.policy, catalog=catalog), self.principal, self.context)

    def report(self, count: int, statements: Sequence[tuple[str, Params]], progress: Progress) -> Report:
        """Runs every statement and sums up."""
        candidates = [*recorded(statements), *(self._made(count) if count else ())]
        for done, candidate in enumerate(candidates):
            progress(done, len(candidates))
            self._try(candidate)
            if self.tally.counts["changes differ"]:
                # From here on the twins differ in more than what is protected.
                break
        if not self.tally.counts["compared"]:
            codes = ", ".join(self.tally.refused) or "none was given"
            raise UsageError("usage.nothing_proven", f"Not one statement could be compared ({codes}).")
        return self._summed_up(Counter(c.origin for c in candidates))

    def _made(self, count: int) -> Iterator[Candidate]:
        first = self.twins[0]
        shown = visible(first.policy, self.principal, self.context)
        examples = self._examples()
        vocabulary = Vocabulary(first.catalog, shown, self._protected_relations(shown), examples, self.seed)
        if not vocabulary:
            return
        yield from queries(vocabulary, examples, count, self.seed)
        if any(rule.rule.effect != "deny" and rule.actions & _CHANGES for rule in self.policy.rules):
            yield from changes(vocabulary, -(-count // _CHANGES_SHARE), self.seed)

    def _examples(self) -> dict[tuple[str, str], list[object]]:
        """By relation and column that differs some values of both twins."""
        found: dict[tuple[str, str], list[object]] = {}
        for ref in sorted(self.varied):
            rows = [*self.filled.first[ref.relation][:_EXAMPLES], *self.filled.second[ref.relation][:_EXAMPLES]]
            found[ref.relation, ref.column] = [row[ref.column] for row in rows if row[ref.column] is not None]
        return found

    def _protected_relations(self, shown: Mapping[str, Sequence[str]]) -> frozenset[str]:
        """Relations that hide something, and views whose text names one of them."""
        hidden = {ref.relation for ref in self.protection.masks} | set(self.protection.filters)
        relations = self.twins[0].catalog.relations
        names = {relations[key].name for key in hidden if key in relations}
        views = {k for k in shown if any(name in (relations[k].definition or "") for name in names)}
        return frozenset(hidden | views)

    def _compared(self, sql: str, params: Params, seed: int | None = None) -> Comparison:
        """Compares the twins, and where they agree the first with the one whose hidden rows differ."""
        found = compare((self.twins[0], self.twins[1]), sql, params, self.mask_sql, seed=seed)
        if found.is_change or found.outcome not in ("equal", "failed") or len(self.twins) < 3 or not is_order_free(sql):
            return found
        other = compare((self.twins[0], self.twins[2]), sql, params, self.mask_sql, seed=seed, is_ordered=False)
        self.tally.counts["hidden"] += other.outcome != "unsettled"
        return other if other.outcome == "different" else found

    def _try(self, candidate: Candidate) -> None:
        """Compares one statement, and counts it."""
        found = self._compared(candidate.sql, candidate.params, candidate.seed)
        counts = self.tally.counts
        if found.outcome == "refused":
            self.tally.refused[found.judgement.decision.code] += 1
            return
        if found.outcome == "unsettled":
            counts["unsettled"] += 1
            return
        counts["compared"] += 1
        counts["failed"] += found.outcome == "failed"
        counts["protected"] += found.touches(self.varied, frozenset(self.hidden.rows))
        if not found.is_change and found.outcome == "equal" and counts["controls"] < _CONTROLS:
            self._control(found, candidate)
        if found.difference is None:
            return
        counts["differences"] += 1
        counts["changes differ"] += found.is_change
        if len(self.tally.differences) < _KEPT:
            is_early = counts["shrunk"] < _SHOWN
            self.tally.differences.append(self._shrunk(found.difference, candidate) if is_early else found.difference)

    def _control(self, found: Comparison, candidate: Candidate) -> None:
        """Runs a statement about protected columns without masks, to see whether it tells the twins apart."""
        if not found.touches(self.varied, frozenset()):
            return
        control = compare((self.twins[0], self.twins[1]), candidate.sql, candidate.params, _unmasked(self.dialect))
        self.tally.counts["controls"] += control.outcome in ("equal", "failed", "different")
        self.tally.counts["controls differ"] += control.outcome == "different"

    def _shrunk(self, difference: Difference, candidate: Candidate) -> Difference:
        if candidate.make is None or candidate.seed is None:
            return difference
        self.tally.counts["shrunk"] += 1
        before = self.tally.counts["hidden"]
        fails: Callable[[str], bool] = lambda sql: self._compared(sql, {}).outcome == "different"  # noqa: E731
        short = shrink(candidate.make, seeded(candidate.seed), fails, _TRIES)
        found = self._compared(short, {}, candidate.seed).difference
        self.tally.counts["hidden"] = before
        return found or difference

    def _summed_up(self, tried: Counter[Origin]) -> Report:
        counts = self.tally.counts
        masks = self.protection.masks
        return Report(
            self.dialect,
            self.principal.id,
            self.seed,
            {name: len(found) for name, found in self.filled.first.items() if found},
            {str(ref): n for ref in masks if (n := self.filled.differing(ref))},
            {str(ref): reason for ref, reason in self.filled.kept_equal.items()},
            self.hidden.rows,
            tuple(self._unproven()),
            tuple(self.left_out),
            {str(origin): number for origin, number in tried.items()},
            dict(self.tally.refused.most_common()),
            counts["compared"],
            counts["protected"],
            counts["failed"],
            counts["unsettled"],
            counts["hidden"],
            (counts["controls"], counts["controls differ"]),
            tuple(sorted(self.tally.differences, key=lambda d: len(d.sql))[:_SHOWN]),
            counts["differences"],
        )


def _require(scratch: Scratch, schema: SourceSchema, when: str) -> None:
    for definition in schema.before_rows if when == "before" else schema.afterwards:
        reason = scratch.refusal(definition.sql)
        if reason is not None:
            raise UsageError(
                "usage.scratch_refused", f"The scratch database refused {definition.name}.", evidence={"error": reason}
            )


def _unmasked(dialect: str) -> MaskSql:
    """Masks that show the value itself: what the twins would answer without any."""
    column = "`__column__`" if dialect == "mysql" else '"__column__"'

    def raw(_mask: Mask, _column: Column) -> MaskExpression:
        return MaskExpression(column)

    return raw
