"""A proof, top to bottom: copy the schema, fill the twins, let the guard answer in both, compare, and shrink what differs."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from guardrails.errors import UsageError
from guardrails.flow import MaskSql
from guardrails.masking import mask_expression
from guardrails.model import Catalog, Column, ColumnRef, Context, Mask, MaskExpression, Params, Principal
from guardrails.policy import Policy, visible
from guardrails.proving.comparing import Comparison, Twin, compare, is_order_free
from guardrails.proving.copying import Scratch, SourceSchema, Workshop, open_workshop
from guardrails.proving.copying.workshop import apply
from guardrails.proving.grammar import Choose, query, seeded, shrink
from guardrails.proving.hidden import Hidden, change_hidden
from guardrails.proving.protection import protection_of
from guardrails.proving.report import Difference, Report
from guardrails.proving.rows import Filled, fill
from guardrails.proving.vocabulary import Vocabulary

__all__ = ["prove"]

Progress: TypeAlias = Callable[[int, int], None]
_SEEDS = 10_000_000
_TURN = 25
"""Statements over one handful of relations."""
_CONTROLS = 60
_SHOWN = 5
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
        prover = _Prover(workshop, loaded, principal, context or Context(), seed, rows, unsafe_mask_sql)
        return prover.report(count, list(statements), progress or (lambda _done, _total: None))
    finally:
        workshop.close()


@dataclass
class _Tally:
    refused: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)


class _Prover:
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
        if not protection_of(self.policy, principal, context):
            raise UsageError("usage.nothing_proven", "The policy hides nothing in this database from this principal.")
        self.schema = workshop.read()
        self.left_out: list[tuple[str, str]] = list(self.schema.left_out)
        self._build(workshop, catalog, rows)
        self.tally = _Tally()

    def _build(self, workshop: Workshop, catalog: Catalog, rows: int) -> None:
        """Makes, fills and opens the twins."""
        has_filters = bool(protection_of(self.policy, self.principal, self.context).filters)
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

    def _copied(self, catalog: Catalog) -> Catalog:
        """The catalog as far as it is copied: relations that could not be made take no rows."""
        missing = {name for name, _ in self.left_out}
        relations = {
            k: r for k, r in catalog.relations.items() if r.name not in missing and f"{r.schema}.{r.name}" not in missing
        }
        return replace(catalog, relations=relations)

    def _twin(self, workshop: Workshop, scratch: Scratch) -> Twin:
        engine = workshop.open(scratch)
        catalog = engine.catalog()
        # Relation keys are the same in the copy, so what the policy's names mean stays what it was.
        return Twin(engine, catalog, replace(self.policy, catalog=catalog), self.principal, self.context)

    def report(self, count: int, statements: Sequence[tuple[str, Params]], progress: Progress) -> Report:
        """Runs every statement and sums up."""
        total = count + len(statements)
        done = 0
        for sql, params in statements:
            self._take(self._compared(sql, params), sql, params)
            progress(done := done + 1, total)
        for choose, make, seed in self._generated(count):
            sql = make(choose())
            self._take(self._compared(sql, {}, seed), sql, {}, (choose, make, seed))
            progress(done := done + 1, total)
        if not self.tally.counts["compared"]:
            codes = ", ".join(self.tally.refused) or "none was given"
            raise UsageError("usage.nothing_proven", f"Not one statement could be compared ({codes}).")
        return self._summed_up(count, len(statements))

    def _generated(self, count: int) -> Iterator[tuple[Callable[[], Choose], Callable[[Choose], str], int]]:
        catalog = self.twins[0].catalog
        shown = visible(self.twins[0].policy, self.principal, self.context)
        favoured = frozenset(ref.column for ref in self._varied())
        vocabulary = Vocabulary(catalog, shown, self._protected_relations(shown), favoured, self.seed)
        if not vocabulary:
            return
        for number in range(count):
            flavour = vocabulary.flavour(number // _TURN)
            seed = self.seed * _SEEDS + number
            yield (lambda s=seed: seeded(s)), (lambda choose, f=flavour, d=1 + number % 2: query(choose, f, depth=d)), seed  # type: ignore[misc]

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
        if found.outcome not in ("equal", "failed") or len(self.twins) < 3 or not is_order_free(sql):
            return found
        other = compare((self.twins[0], self.twins[2]), sql, params, self.mask_sql, seed=seed, is_ordered=False)
        self.tally.counts["hidden"] += other.outcome != "unsettled"
        return other if other.outcome == "different" else found

    def _take(
        self, found: Comparison, sql: str, params: Params,
        origin: tuple[Callable[[], Choose], Callable[[Choose], str], int] | None = None,
    ) -> None:  # fmt: skip
        counts = self.tally.counts
        if found.outcome == "refused":
            self.tally.refused[found.judgement.decision.code] += 1
            return
        counts["unsettled"] += found.outcome == "unsettled"
        if found.outcome == "unsettled":
            return
        counts["compared"] += 1
        counts["failed"] += found.outcome == "failed"
        counts["protected"] += found.touches(self._varied(), frozenset(self.hidden.rows))
        if found.touches(self._varied(), frozenset()) and found.outcome == "equal" and counts["controls"] < _CONTROLS:
            control = compare((self.twins[0], self.twins[1]), sql, params, _unmasked(self.dialect))
            counts["controls"] += control.outcome in ("equal", "failed", "different")
            counts["controls differ"] += control.outcome == "different"
        if found.difference is None:
            return
        counts["differences"] += 1
        if len(self.tally.differences) < _SHOWN:
            self.tally.differences.append(self._shrunk(found.difference, origin))

    def _shrunk(
        self, difference: Difference, origin: tuple[Callable[[], Choose], Callable[[Choose], str], int] | None
    ) -> Difference:
        if origin is None:
            return difference
        choose, make, seed = origin
        with self._counting_apart():
            short = shrink(make, choose(), lambda sql: self._compared(sql, {}).outcome == "different")
            return self._compared(short, {}, seed).difference or difference

    @contextmanager
    def _counting_apart(self) -> Iterator[None]:
        before = self.tally.counts["hidden"]
        yield
        self.tally.counts["hidden"] = before

    def _varied(self) -> frozenset[ColumnRef]:
        """The protected columns in which the twins differ."""
        return frozenset(ref for ref in self.protection.masks if self.filled.differing(ref))

    def _summed_up(self, generated: int, recorded: int) -> Report:
        counts = self.tally.counts
        masks = self.protection.masks
        unproven = [
            *((str(ref), "a mask of a view; its base column is as readable as before") for ref in self.protection.view_masks),
            *((name, f"its hidden rows were not changed: {reason}") for name, reason in self.hidden.refused.items()),
        ]
        return Report(
            self.dialect,
            self.principal.id,
            self.seed,
            {name: len(found) for name, found in self.filled.first.items() if found},
            {str(ref): n for ref in masks if (n := self.filled.differing(ref))},
            {str(ref): reason for ref, reason in self.filled.kept_equal.items()},
            self.hidden.rows,
            tuple(unproven),
            tuple(self.left_out),
            generated,
            recorded,
            dict(self.tally.refused.most_common()),
            counts["compared"],
            counts["protected"],
            counts["failed"],
            counts["unsettled"],
            counts["hidden"],
            (counts["controls"], counts["controls differ"]),
            tuple(self.tally.differences),
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
