"""A policy held against a schema: every name must mean something there, every mask and row filter must fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from guardrails.errors import PolicyError, StatementError
from guardrails.masking import check_mask
from guardrails.masking.judged_types import declared_type
from guardrails.model import Catalog, ColumnRef, Limits, Mask, RowFilter
from guardrails.policy.checks import principal_names
from guardrails.policy.conditions import Condition
from guardrails.policy.document import Document, Path, raise_all
from guardrails.policy.names import Names, is_glob, meant, split_column
from guardrails.policy.reach import Reach
from guardrails.policy.schema import (
    ACTION_WORDS,
    ColumnRule,
    Exemption,
    PolicyFile,
    RateRule,
    RowRule,
    Rule,
    ToolRule,
    sql_actions,
)
from guardrails.sql import check_predicate
from guardrails.sql.dialects import dialect_of

__all__ = ["BoundColumn", "BoundPolicy", "BoundRow", "BoundRule", "bind", "strictness"]

_MOST_SUGGESTIONS = 20
_STRICTEST = ("deny", "null", "full", "fixed")
"""Masks that show nothing of a value, before those that keep a part."""


@dataclass(frozen=True, slots=True)
class BoundRule:
    """A rule with what its names mean in this schema.

    Args:
        rule: As written.
        actions: The SQL actions that it is about.
        tools: Names and globs of the tools that it is about.
        relations: Keys of the relations that it is about, None for every one.
        columns: The columns that it is limited to; empty for all.
        condition: Compiled, None for always.
    """

    rule: Rule
    actions: frozenset[str]
    tools: tuple[str, ...]
    relations: frozenset[str] | None
    columns: frozenset[ColumnRef]
    condition: Condition | None


@dataclass(frozen=True, slots=True)
class BoundColumn:
    """A protected column: its mask and for whom not, who may have its tokens resolved, whether a change may store them so, and whether the
    database is to hold the masked values."""

    mask: Mask
    exemption: Exemption | None
    reveal: Exemption | None = None
    are_tokens_stored: bool = False
    is_placed: bool = False


@dataclass(frozen=True, slots=True)
class BoundRow:
    """A row filter by relation key, with the names after `principal.` that it needs, and for whom not."""

    row_filter: RowFilter
    names: frozenset[str]
    exemption: Exemption | None


@dataclass(frozen=True, slots=True)
class BoundPolicy:
    """A policy that fits one version of a schema; what `guardrails.policy.decide` decides with."""

    catalog: Catalog
    digest: str
    limits: Limits
    rules: tuple[BoundRule, ...]
    columns: tuple[BoundColumn, ...]
    rows: tuple[BoundRow, ...]
    purposes: frozenset[str]
    tools: Mapping[str, ToolRule] = field(default_factory=dict)
    rates: tuple[RateRule, ...] = ()
    reach: Reach = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reach", Reach(self.catalog))

    def masks_of(self, relation: str) -> Iterator[BoundColumn]:
        """Yields the masks that hold for a relation: its own, those of relations that share rows with it, and of what is computed."""
        for bound in self.columns:
            declared = bound.mask.column
            if self.reach.shows(relation, declared):
                yield replace(bound, mask=replace(bound.mask, column=ColumnRef(relation, declared.column)))
            for name in self.reach.computed(relation, declared):
                if not self._has_own_mask(relation, name):
                    yield replace(bound, mask=Mask(ColumnRef(relation, name), "deny"), reveal=None, are_tokens_stored=False)

    def _has_own_mask(self, relation: str, column: str) -> bool:
        """Whether the policy itself says what a generated column shows, there or where all of its rows are rows as well."""
        named = (b.mask.column for b in self.columns if b.mask.column.column == column)
        return any(self.reach.is_within(relation, ref.relation) for ref in named)

    @property
    def masks(self) -> Mapping[ColumnRef, Mask]:
        """The masks by column, exemptions aside."""
        return {column.mask.column: column.mask for column in self.columns}

    @property
    def row_filters(self) -> Mapping[str, RowFilter]:
        """The row filters by relation key, without the principal's values and exemptions aside."""
        return {row.row_filter.relation: row.row_filter for row in self.rows}

    def require_purpose(self, purpose: str | None) -> None:
        """Checks that a session's purpose is one that the policy declares; a policy without purposes takes any, as a mere label.

        Raises:
            PolicyError: It is not (``policy.purpose_unknown``).
        """
        if purpose is not None and self.purposes and purpose not in self.purposes:
            message = f"The purpose `{purpose[:80]}` is not declared in the policy.{meant(purpose, self.purposes)}"
            raise PolicyError("policy.purpose_unknown", message)


def strictness(kind: str) -> int:
    """Returns where a kind of mask stands when several hold for one column; the smallest goes first."""
    return _STRICTEST.index(kind) if kind in _STRICTEST else len(_STRICTEST)


def bind(
    file: PolicyFile,
    document: Document,
    catalog: Catalog,
    digest: str,
    limits: Limits,
    conditions: Mapping[str, Condition],
) -> BoundPolicy:
    """Resolves every name of the policy in the catalog; see `Policy.bind`.

    Raises:
        PolicyError: As `Policy.bind`; the evidence lists what else is wrong.
    """
    binder = _Binder(document, Names(catalog), [], {})
    rules = tuple(binder.rule(rule, index, conditions.get(rule.id)) for index, rule in enumerate(file.rules))
    columns = [c for name, rule in file.columns.items() for c in binder.column(name, rule)]
    rows = [r for name, rule in file.rows.items() for r in binder.row(name, rule)]
    bound = BoundPolicy(
        catalog, digest, limits, rules, tuple(columns), tuple(rows), frozenset(file.purposes), file.tools, file.rates
    )
    binder.require_agreement(bound)
    raise_all(binder.problems)
    return bound


@dataclass(frozen=True, slots=True)
class _Binder:
    document: Document
    names: Names
    problems: list[PolicyError]
    claims: dict[ColumnRef | str, Path]

    def rule(self, rule: Rule, index: int, condition: Condition | None) -> BoundRule:
        path: Path = ("rules", index)
        actions = sql_actions(rule.actions)
        tools = tuple(a for a in rule.actions if a not in ACTION_WORDS)
        relations = self._rule_relations(rule, path, actions) if rule.relations else None
        columns: set[ColumnRef] = set()
        known_problems = len(self.problems)
        for number, pattern in enumerate(rule.columns):
            columns |= self._rule_columns(rule, pattern, (*path, "columns", number), relations)
        if rule.columns:
            # Limited to columns, the rule is about nothing else of its relations.
            touched = frozenset(c.relation for c in columns)
            if len(self.problems) == known_problems:
                self._require_columns(rule, path, touched)
            relations = touched
        return BoundRule(rule, actions, tools, relations, frozenset(columns), condition)

    def column(self, name: str, rule: ColumnRule) -> list[BoundColumn]:
        path: Path = ("columns", name)
        relation, column = split_column(name)
        keys = self._relations(relation, path, of_key=True)
        found = sorted(self.names.columns(keys, column))
        if keys and not found:
            self._no_column(relation, column, keys, path, of_key=True)
        bound: list[BoundColumn] = []
        for ref in found[:1]:
            self._claim(ref, path)
            described = next(c for c in self.names.catalog.relations[ref.relation].columns if c.name == ref.column)
            family = declared_type(described, self.names.catalog.dialect).family
            mask = Mask(ref, rule.mask, rule.options(), rule.predicate, rule.min_group or 0, family)
            bound.append(BoundColumn(mask, rule.exemption, rule.reveal, rule.tokens == "resolve", rule.place == "column"))
            if rule.tokens == "resolve" and family != "text":
                self._add("policy.mask_invalid", f"Tokens of `{name}` are no texts.", (*path, "tokens"), of_key=True)
            try:
                if rule.mask != "deny":
                    check_mask(mask, described, self.names.catalog.dialect)
            except PolicyError as error:
                self._add(error.code, error.message, (*path, "mask"), hint=error.hint)
        return bound

    def row(self, name: str, rule: RowRule) -> list[BoundRow]:
        path: Path = ("rows", name)
        place: Path = (*path, "predicate") if (*path, "predicate") in self.document.values else path
        bound: list[BoundRow] = []
        for key in sorted(self._relations(name, path, of_key=True))[:1]:
            self._claim(key, path)
            bound.append(BoundRow(RowFilter(key, rule.predicate), principal_names(rule.predicate), rule.exemption))
            relation = self.names.catalog.relations[key]
            try:
                check_predicate(rule.predicate, relation, dialect_of(self.names.catalog.dialect))
            except StatementError as error:
                self._add("policy.row_filter_invalid", error.message, place)
        return bound

    def require_agreement(self, bound: BoundPolicy) -> None:
        """Of two masks of relations that share rows, one must be the stricter."""
        paths = {ref: path for ref, path in self.claims.items() if isinstance(ref, ColumnRef)}
        for ref, path in paths.items():
            if len(bound.reach.kin(ref.relation)) == 1:
                continue
            own = next((b.mask for b in bound.columns if b.mask.column == ref), None)
            for other in bound.columns:
                met = other.mask
                is_met = met.column < ref and bound.reach.shows(ref.relation, met.column) and met.column.column == ref.column
                if own is None or not is_met or (own.kind, own.options) == (met.kind, met.options):
                    continue
                if strictness(own.kind) == strictness(met.kind):
                    message = f"`{met.column}` and `{ref}` share rows and have different masks, none of which is the stricter."
                    self._add("policy.contradiction", message, path, of_key=True, hint="Give both the same mask.")

    def _claim(self, meaning: ColumnRef | str, path: Path) -> None:
        """Two names of the file must not mean the same thing, as `orders` and `public.orders` may."""
        other = self.claims.setdefault(meaning, path)
        if other != path:
            self._add("policy.contradiction", f"`{path[-1]}` and `{other[-1]}` are the same.", path, of_key=True)

    def _rule_relations(self, rule: Rule, path: Path, actions: frozenset[str]) -> frozenset[str]:
        found: set[str] = set()
        for number, pattern in enumerate(rule.relations):
            keys = self.names.relations(pattern, in_any_schema=rule.effect == "deny")
            # A deny may look ahead with a glob, and what is created does not exist yet.
            is_ahead = (bool(actions) and actions <= {"create"}) or ("create" in actions and is_glob(pattern))
            is_bound_to_mean = not is_ahead and (rule.effect == "allow" or not is_glob(pattern))
            if not keys and is_bound_to_mean:
                self._no_relation(pattern, (*path, "relations", number))
            found |= keys
        return frozenset(found)

    def _rule_columns(self, rule: Rule, pattern: str, path: Path, relations: frozenset[str] | None) -> frozenset[ColumnRef]:
        relation, column = split_column(pattern)
        keys = self.names.relations(relation, in_any_schema=rule.effect == "deny")
        is_literal = not is_glob(relation)
        if not keys and (is_literal or rule.effect == "allow"):
            self._no_relation(relation, path)
        inside = keys if relations is None else keys & relations
        if keys and not inside and (is_literal or rule.effect == "allow"):
            self._add("policy.contradiction", f"The rule `{rule.id}` is not about the relation of `{pattern}`.", path)
        found = self.names.columns(inside, column)
        if inside and not found and ((is_literal and not is_glob(column)) or rule.effect == "allow"):
            self._no_column(relation, column, inside, path)
        return found

    def _require_columns(self, rule: Rule, path: Path, touched: frozenset[str]) -> None:
        for number, pattern in enumerate(rule.relations):
            keys = self.names.relations(pattern, in_any_schema=rule.effect == "deny")
            if keys and not is_glob(pattern) and not keys & touched:
                message = f"The rule `{rule.id}` names columns, but none of `{pattern}`."
                self._add("policy.contradiction", message, (*path, "relations", number))

    def _relations(self, name: str, path: Path, *, of_key: bool = False) -> frozenset[str]:
        keys = self.names.relations(name)
        if not keys:
            self._no_relation(name, path, of_key=of_key)
        return keys

    def _no_relation(self, name: str, path: Path, *, of_key: bool = False) -> None:
        near = "" if is_glob(name) else self._near(name)
        self._add("policy.unknown_relation", f"There is no relation `{name}`.{near}", path, of_key=of_key)

    def _near(self, name: str) -> str:
        if len(self.problems) >= _MOST_SUGGESTIONS:
            return ""
        elsewhere = [k for k in self.names.known() if k.endswith("." + name)]
        return f" Did you mean `{elsewhere[0]}`?" if elsewhere else meant(name, self.names.known())

    def _no_column(self, relation: str, column: str, keys: frozenset[str], path: Path, *, of_key: bool = False) -> None:
        known = [n for key in sorted(keys) for n in self.names.catalog.relations[key].column_names]
        message = f"`{relation}` has no column `{column}`.{meant(column, known)}"
        self._add("policy.unknown_relation", message, path, of_key=of_key)

    def _add(self, code: str, message: str, path: Path, *, of_key: bool = False, hint: str = "") -> None:
        self.problems.append(self.document.error(code, message, path, of_key=of_key, hint=hint))
