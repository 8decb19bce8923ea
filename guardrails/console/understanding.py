"""What the guard understood of a statement, arranged for people: relations with what happens to each column, and what binds the permit.

From the fields that `guardrails.as_json.decision_fields` gives and a request keeps. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = ["ColumnView", "Obligation", "RelationView", "obligations_of", "relations_of"]

Happening: TypeAlias = Literal["written", "lifted", "masked", "read"]

_ORDER: tuple[Happening, ...] = ("written", "lifted", "masked", "read")
_WORDS = {"written": "changed", "lifted": "shown unmasked", "read": "read"}


@dataclass(frozen=True, slots=True)
class ColumnView:
    """A column and the most telling of what happens to it; `mask` is the kind of its mask."""

    name: str
    happening: Happening
    mask: str = ""

    @property
    def words(self) -> str:
        return f"masked ({self.mask})" if self.happening == "masked" else _WORDS[self.happening]


@dataclass(slots=True)
class RelationView:
    """A relation with its columns, those that are changed first, and the row filter that holds on it."""

    name: str
    columns: list[ColumnView] = field(default_factory=list)
    row_filter: str = ""


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something that the permit is bound to, as a name and a text."""

    name: str
    text: str


def relations_of(understood: Mapping[str, object]) -> list[RelationView]:
    """Returns the relations, those that are changed first, else by name; masks of columns that play no part are left out."""
    happenings: dict[str, tuple[Happening, str]] = dict.fromkeys(_texts(understood.get("reads")), ("read", ""))
    found: dict[str, RelationView] = {}
    for obligation in _obligations(understood):
        match obligation.get("type"):
            case "mask" if str(obligation["column"]) in happenings:
                happenings[str(obligation["column"])] = "masked", str(obligation["mask"])
            case "rows":
                _relation(found, str(obligation["relation"])).row_filter = str(obligation["predicate"])
    for obligation in _obligations(understood):
        if obligation.get("type") == "unmask":
            happenings |= dict.fromkeys(_texts(obligation.get("columns")), ("lifted", ""))
    happenings |= dict.fromkeys(_texts(understood.get("writes")), ("written", ""))
    for column, (happening, mask) in sorted(happenings.items(), key=lambda item: (_ORDER.index(item[1][0]), item[0])):
        relation, _, name = column.rpartition(".")
        _relation(found, relation).columns.append(ColumnView(name, happening, mask))
    return sorted(found.values(), key=lambda view: (not any(c.happening == "written" for c in view.columns), view.name))


def obligations_of(understood: Mapping[str, object]) -> list[Obligation]:
    """Returns what else binds the permit: limits, questions about real values, what of the schema may be told."""
    found = []
    for obligation in _obligations(understood):
        match obligation.get("type"):
            case "limit":
                rows, changed, seconds = (obligation.get(name) for name in ("rows", "rows_changed", "seconds"))
                found.append(Obligation("Limits", f"{rows} rows returned, {changed} changed, {seconds} s"))
            case "probes":
                text = f"{obligation.get('count')} about real values of masked columns, of {obligation.get('limit')} a session"
                found.append(Obligation("Questions", text))
            case "visible":
                found.append(Obligation("Tells of the schema", ", ".join(_texts(obligation.get("relations")))))
    functions = list(_texts(understood.get("functions")))
    return [*found, Obligation("Functions", ", ".join(functions))] if functions else found


def _relation(found: dict[str, RelationView], name: str) -> RelationView:
    return found.setdefault(name, RelationView(name))


def _obligations(understood: Mapping[str, object]) -> Iterable[Mapping[str, Any]]:
    given = understood.get("obligations")
    return [item for item in given if isinstance(item, Mapping)] if isinstance(given, Sequence) else []


def _texts(given: object) -> Iterable[str]:
    return [str(item) for item in given] if isinstance(given, Sequence) and not isinstance(given, str) else []
