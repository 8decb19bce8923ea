"""Questions about one protected column each, with values that the twins really hold: what somebody asks who wants to find one out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from guardrails.proving.grammar import Flavour, quoted

__all__ = ["literal", "probes"]

_MOST_CHARACTERS = 60

_PLAIN = (
    "SELECT {c} FROM {t}",
    "SELECT {k} FROM {t} ORDER BY {c}",
    "SELECT {k} FROM {t} ORDER BY {c} DESC LIMIT 3",
    "SELECT {k} FROM {t} WHERE {c} IS NULL",
    "SELECT count({c}), count(DISTINCT {c}), min({c}), max({c}) FROM {t}",
    "SELECT {c}, count(*) FROM {t} GROUP BY {c} ORDER BY 2, 1",
    "SELECT {k}, row_number() OVER (ORDER BY {c}) FROM {t}",
    "SELECT a.{k}, b.{k} FROM {t} a JOIN {t} b ON a.{c} = b.{c} ORDER BY 1, 2",
    "SELECT {k} FROM {t} WHERE {c} IN (SELECT {c} FROM {t} WHERE {c} IS NOT NULL) AND {c} = (SELECT max({c}) FROM {t})",
    "SELECT DISTINCT {c} FROM {t} LIMIT 2",
    "WITH w AS (SELECT {c} AS x, {k} AS y FROM {t}) SELECT y FROM w WHERE x > (SELECT min(x) FROM w)",
    "SELECT * FROM {t} ORDER BY {c} LIMIT 5",
    "SELECT {k} FROM {t} WHERE length(cast({c} AS {text})) > 4",
    "SELECT {k} FROM {t} WHERE 1 / (length(cast({c} AS {text})) - 3) > 0",
)
_WITH_VALUE = (
    "SELECT {k} FROM {t} WHERE {c} = {v}",
    "SELECT {k} FROM {t} WHERE {c} > {v} ORDER BY {k}",
    "SELECT count(*) FROM {t} WHERE {c} <> {v}",
    "SELECT CASE WHEN {c} = {v} THEN 1 ELSE 0 END AS x, count(*) FROM {t} GROUP BY 1 ORDER BY 1",
    "SELECT {k} FROM {t} WHERE {c} BETWEEN {v} AND {v}",
)
_TEXTS = {"mysql": "char"}


def probes(
    flavour: Flavour, columns: Mapping[tuple[str, str], str], examples: Mapping[tuple[str, str], Sequence[object]]
) -> Iterator[str]:
    """Yields statements.

    Args:
        flavour: The engine's side of the grammar, for its words.
        columns: By relation and protected column another column of the relation, to ask for in its place.
        examples: Values that the twins hold, by relation and column.
    """
    for (relation, column), other in columns.items():
        names = {
            "t": flavour.spell(relation),
            "c": quoted(column, flavour),
            "k": quoted(other, flavour),
            "text": _TEXTS.get(flavour.name, "text"),
        }
        for template in _PLAIN:
            yield template.format(**names)
        values = [v for example in examples.get((relation, column), ()) if (v := literal(example))]
        for number, template in enumerate(_WITH_VALUE if values else ()):
            yield template.format(**names, v=values[number % len(values)])


def literal(value: object) -> str | None:
    """Returns a value as SQL; None of one that is not easily written."""
    match value:
        case bool():
            return None
        case int() | Decimal():
            return str(value)
        case float():
            return repr(value)
        case datetime():
            return None if value.tzinfo else f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S}'"
        case date():
            return f"DATE '{value.isoformat()}'"
        case str() if len(value) <= _MOST_CHARACTERS and value.isprintable() and not set("\\:?$%'") & set(value):
            return f"'{value}'"
    return None
