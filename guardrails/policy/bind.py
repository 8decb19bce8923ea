"""A policy held against a schema: every name must mean something there, every mask and row filter must fit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from guardrails.errors import PolicyError, StatementError
from guardrails.masking import check_mask
from guardrails.model import Catalog, ColumnRef, Limits, Mask, RowFilter
from guardrails.policy.conditions import Condition
from guardrails.policy.document import Document
from guardrails.policy.schema import ColumnRule, PolicyFile, RowRule, Rule
from guardrails.sql import check_predicate

__all__ = ["BoundColumn", "BoundPolicy", "BoundRow", "BoundRule", "bind"]

_TEXT = re.compile(r"'(?:[^']|'')*'")
_ATTRIBUTE = re.compile(r"\bprincipal\s*\.\s*([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class BoundRule:
    """A rule with the relations and columns that its globs mean in this schema."""

    rule: Rule
    relations: frozenset[str]
    columns: frozenset[ColumnRef]


@dataclass(frozen=True, slots=True)
class BoundColumn:
    """A protected column: its mask, and the rule that says for whom not."""

    mask: Mask
    rule: ColumnRule


@dataclass(frozen=True, slots=True)
class BoundRow:
    """A row filter by relation key, with the principal's attributes that it needs."""

    row_filter: RowFilter
    attributes: frozenset[str]
    rule: RowRule


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
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def require_purpose(self, purpose: str | None) -> None:
        """Checks that a session's purpose is one that the policy declares.

        Raises:
            PolicyError: It is not (``policy.invalid``).
        """
        if purpose is not None and purpose not in self.purposes:
            near = difflib.get_close_matches(purpose, self.purposes, 1)
            meant = f" Did you mean `{near[0]}`?" if near else ""
            raise PolicyError("policy.invalid", f"The purpose `{purpose[:80]}` is not declared in the policy.{meant}")


def bind(
    file: PolicyFile,
    document: Document,
    catalog: Catalog,
    digest: str,
    limits: Limits,
    conditions: Mapping[str, Condition],
) -> BoundPolicy:
    """Resolves every name of the policy in the catalog; see `Policy.bind`."""
    names = _Names(catalog, document)
    rules = tuple(_rule(rule, index, names) for index, rule in enumerate(file.rules))
    columns = tuple(_column(name, rule, names) for name, rule in file.columns.items())
    rows = tuple(_row(name, rule, names) for name, rule in file.rows.items())
    return BoundPolicy(catalog, digest, limits, rules, columns, rows, frozenset(file.purposes), conditions)


class _Names:
    """Looks the policy's names up in the catalog by the engine's case rules."""

    def __init__(self, catalog: Catalog, document: Document) -> None:
        self.catalog = catalog
        self.document = document
        self._fold = str.lower if catalog.dialect == "sqlite" else str
        self._relations = {self._fold(n): key for key, r in catalog.relations.items() for n in (key, f"{r.schema}.{r.name}")}

    def relations(self, pattern: str, path: tuple[str | int, ...], *, of_key: bool = False) -> frozenset[str]:
        """Returns the relation keys that a name or glob means; an error when there are none."""
        folded = self._fold(pattern)
        if not _is_glob(pattern):
            found = {self._relations[folded]} if folded in self._relations else set()
        else:
            found = {key for name, key in self._relations.items() if fnmatchcase(name, folded)}
        if not found:
            near = difflib.get_close_matches(folded, self._relations, 1)
            meant = f" Did you mean `{near[0]}`?" if near else ""
            raise self.document.error(
                "policy.unknown_relation", f"There is no relation `{pattern}`.{meant}", path, of_key=of_key
            )
        return frozenset(found)

    def columns(self, pattern: str, path: tuple[str | int, ...], *, of_key: bool = False) -> Iterator[ColumnRef]:
        """Yields the columns that `relation.column`, with globs in either part, means; an error when there are none."""
        relation, _, column = pattern.rpartition(".")
        folded, count, known = self._fold(column), 0, set[str]()
        for key in sorted(self.relations(relation, path, of_key=of_key)):
            for candidate in self.catalog.relations[key].column_names:
                known.add(candidate)
                if fnmatchcase(self._fold(candidate), folded):
                    count += 1
                    yield ColumnRef(key, candidate)
        if not count:
            near = difflib.get_close_matches(folded, known, 1)
            meant = f" Did you mean `{near[0]}`?" if near else ""
            raise self.document.error(
                "policy.unknown_relation", f"`{relation}` has no column `{column}`.{meant}", path, of_key=of_key
            )


def _rule(rule: Rule, index: int, names: _Names) -> BoundRule:
    relations = [names.relations(p, ("rules", index, "relations", i)) for i, p in enumerate(rule.relations)]
    columns = [c for i, p in enumerate(rule.columns) for c in names.columns(p, ("rules", index, "columns", i))]
    keys = frozenset().union(*relations) if relations else frozenset(c.relation for c in columns)
    return BoundRule(rule, keys, frozenset(columns))


def _column(name: str, rule: ColumnRule, names: _Names) -> BoundColumn:
    path = ("columns", name)
    if _is_glob(name):
        raise names.document.error("policy.invalid", f"`{name}`: a protected column is named in full.", path, of_key=True)
    ref = next(names.columns(name, path, of_key=True))
    mask = Mask(ref, rule.mask, rule.options())
    relation = names.catalog.relations[ref.relation]
    column = next(c for c in relation.columns if c.name == ref.column)
    if rule.mask == "deny":
        if mask.options:
            raise names.document.error("policy.invalid", "A denied column takes no mask options.", path)
        return BoundColumn(mask, rule)
    try:
        check_mask(mask, column, names.catalog.dialect)
    except PolicyError as error:
        raise names.document.error(error.code, error.message, path, hint=error.hint) from None
    return BoundColumn(mask, rule)


def _row(name: str, rule: RowRule, names: _Names) -> BoundRow:
    path = ("rows", name)
    if _is_glob(name):
        raise names.document.error("policy.invalid", f"`{name}`: a filtered relation is named in full.", path, of_key=True)
    key = next(iter(names.relations(name, path, of_key=True)))
    relation = names.catalog.relations[key]
    from guardrails.sql.dialects import dialect_of

    try:
        check_predicate(rule.predicate, relation, dialect_of(names.catalog.dialect))
    except StatementError as error:
        raise names.document.error("policy.row_filter_invalid", error.message, path) from None
    attributes = frozenset(_ATTRIBUTE.findall(_TEXT.sub("''", rule.predicate)))
    return BoundRow(RowFilter(key, rule.predicate), attributes, rule)


def _is_glob(pattern: str) -> bool:
    return any(c in pattern for c in "*?[")
