"""Names of relations and columns in a policy: their form, their globs, and what they mean in a schema.

`name` means the default schema, `schema.name` any; a single `*` is every relation of every schema. Case counts as it does for the
engine: not at all in SQLite; in PostgreSQL a name is what the catalog has, or else what it becomes without quotes (in Snowflake and
Oracle: upper case).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from guardrails.model import Catalog, ColumnRef
from guardrails.sql.dialects import dialect_of

__all__ = [
    "Names",
    "ascii_lower",
    "is_column_form",
    "is_glob",
    "is_relation_form",
    "may_mean",
    "meant",
    "named_column",
    "split_column",
]

_PART = r"[^\s.'\"`;]+"
_RELATION = re.compile(rf"{_PART}(\.{_PART})?")
_COLUMN = re.compile(rf"{_PART}\.{_PART}(\.{_PART})?")
_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}


def ascii_lower(name: str) -> str:
    """Folds A to Z only, as SQLite does, and PostgreSQL with a multi-byte encoding."""
    return name.translate(_LOWER)


def is_glob(pattern: str) -> bool:
    """Whether the pattern may mean several names."""
    return any(c in pattern for c in "*?[")


def is_relation_form(pattern: str) -> bool:
    """Whether the text is `name` or `schema.name`, with or without globs."""
    return _RELATION.fullmatch(pattern) is not None


def is_column_form(pattern: str) -> bool:
    """Whether the text is `relation.column` or `schema.relation.column`, with or without globs."""
    return _COLUMN.fullmatch(pattern) is not None


def split_column(pattern: str) -> tuple[str, str]:
    """Returns the relation and the column of `relation.column`."""
    relation, _, column = pattern.rpartition(".")
    return relation, column


def named_column(text: str, catalog: Catalog) -> ColumnRef | None:
    """Returns the one column that `relation.column` means in a schema, as in a policy; None without one."""
    if is_glob(text) or not is_column_form(text):
        return None
    names, (relation, column) = Names(catalog), split_column(text)
    found = sorted(names.columns(names.relations(relation), column))
    return found[0] if len(found) == 1 else None


def may_mean(pattern: str, relation: str) -> bool:
    """Whether a pattern could mean a relation that is named elsewhere in the policy, whatever the schema is."""
    pattern, relation = ascii_lower(pattern), ascii_lower(relation)
    if pattern == "*":
        return True
    (schema, name), (other_schema, other_name) = _parts(pattern), _parts(relation)
    is_schema = schema is None or other_schema is None or fnmatchcase(other_schema, schema)
    return is_schema and fnmatchcase(other_name, name)


def meant(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """Returns ` Did you mean …?` for a misspelt name, empty when nothing is near; `likeness` from 0 to 1 as difflib counts it."""
    near = difflib.get_close_matches(ascii_lower(name), [n for n in known if abs(len(n) - len(name)) < 6], 1, likeness)
    return f" Did you mean `{near[0]}`?" if near else ""


def _parts(pattern: str) -> tuple[str | None, str]:
    schema, dot, name = pattern.rpartition(".")
    return (schema if dot else None), name


@dataclass(frozen=True, slots=True)
class Names:
    """Looks names of a policy up in one catalog."""

    catalog: Catalog
    _relations: tuple[tuple[str, str, str], ...] = field(init=False)

    def __post_init__(self) -> None:
        found = tuple((self._shown(r.schema), self._shown(r.name), key) for key, r in sorted(self.catalog.relations.items()))
        object.__setattr__(self, "_relations", found)

    def relations(self, pattern: str, *, in_any_schema: bool = False) -> frozenset[str]:
        """Returns the relation keys that a name or glob means.

        Args:
            pattern: `name` or `schema.name`, with or without globs.
            in_any_schema: An unqualified name means every schema, not the default one alone.
        """
        return frozenset(key for schema, name, key in self._relations if self._fits(pattern, schema, name, in_any_schema)) or (
            self._folded(pattern, in_any_schema)
        )

    def is_meant(self, pattern: str, key: str, *, in_any_schema: bool = False) -> bool:
        """Whether a pattern means a relation that is not in the catalog yet, such as one that is being created."""
        schema, name = _parts(key)
        shown = self._shown(schema if schema is not None else self.catalog.default_schema), self._shown(name)
        patterns = {pattern, self._unquoted(pattern)}
        return any(self._fits(p, *shown, in_any_schema) for p in patterns)

    def columns(self, relations: Iterable[str], pattern: str) -> frozenset[ColumnRef]:
        """Returns the columns of some relations that a name or glob means."""
        found: set[ColumnRef] = set()
        for key in relations:
            names = self.catalog.relations[key].column_names
            fitting = [n for n in names if fnmatchcase(self._shown(n), self._shown(pattern))]
            found |= {ColumnRef(key, n) for n in fitting or [n for n in names if fnmatchcase(n, self._unquoted(pattern))]}
        return frozenset(found)

    def known(self) -> list[str]:
        """Returns every name by which the relations may be called, for suggestions."""
        default = self._shown(self.catalog.default_schema)
        return [name if schema == default else f"{schema}.{name}" for schema, name, _ in self._relations]

    def _folded(self, pattern: str, in_any_schema: bool) -> frozenset[str]:
        folded = self._unquoted(pattern)
        return frozenset(key for schema, name, key in self._relations if self._fits(folded, schema, name, in_any_schema))

    def _fits(self, pattern: str, schema: str, name: str, in_any_schema: bool) -> bool:
        wanted_schema, wanted_name = _parts(self._shown(pattern))
        if wanted_schema is None:
            is_here = in_any_schema or wanted_name == "*" or schema == self._shown(self.catalog.default_schema)
        else:
            is_here = fnmatchcase(schema, wanted_schema)
        return is_here and fnmatchcase(name, wanted_name)

    def _unquoted(self, pattern: str) -> str:
        return dialect_of(self.catalog.dialect).fold_unquoted(pattern)

    def _shown(self, name: str) -> str:
        return dialect_of(self.catalog.dialect).fold_name(name)
