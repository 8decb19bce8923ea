"""Who was shown which columns, and how: the few principals and columns that stand out, found in the database and not here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import sqlalchemy as sa

from guardrails.console.projection.projecting import Projection

__all__ = ["HOWS", "Shown", "shown_columns"]

HOWS = ("masked", "lifted", "clear")
"""How a column can be shown: under its mask, with the mask lifted by approval, or as it is."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Principals and columns, those shown most often first, and for (principal, column) how often it was shown in which way."""

    people: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    counts: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)


def shown_columns(
    projection: Projection,
    grain: str,
    since_s: int,
    until_s: int,
    *,
    protected: Collection[str] = (),
    most_people: int,
    most_columns: int,
) -> Shown:
    """Returns what was shown of sensitive columns: those that are protected, or were masked or lifted for somebody in this time.

    Args:
        projection: Where it was counted.
        grain: Width of the buckets; see `guardrails.console.projection.folding.GRAINS`.
        since_s: Unix seconds from which on.
        until_s: Unix seconds until before which.
        protected: Columns as ``relation.column``.
        most_people: At most so many principals.
        most_columns: At most so many columns.

    Raises:
        LedgerError: The projection cannot be read (ledger.unavailable).
    """
    tallies = projection.tables.tallies.c
    measures = {f"{how}.{grain}": how for how in HOWS}
    total = sa.func.sum(tallies.count)
    within = (tallies.bucket >= since_s, tallies.bucket < until_s)
    masking = [name for name, how in measures.items() if how != "clear"]
    with projection.reading() as connection:
        found = connection.execute(
            sa.select(tallies.name, total)
            .where(
                *within, tallies.measure.in_(masking) | (tallies.name.in_(sorted(protected)) & (tallies.measure.in_(measures)))
            )
            .group_by(tallies.name)
            .order_by(total.desc(), tallies.name)
            .limit(most_columns)
        )
        columns = tuple(row.name for row in found)
        of_these = (*within, tallies.measure.in_(measures), tallies.name.in_(columns))
        found = connection.execute(
            sa.select(tallies.subject)
            .where(*of_these)
            .group_by(tallies.subject)
            .order_by(total.desc(), tallies.subject)
            .limit(most_people)
        )
        people = tuple(row.subject for row in found)
        cells = connection.execute(
            sa.select(tallies.measure, tallies.subject, tallies.name, total)
            .where(*of_these, tallies.subject.in_(people))
            .group_by(tallies.measure, tallies.subject, tallies.name)
        )
        counts: dict[tuple[str, str], dict[str, int]] = {}
        for measure, subject, name, count in cells:
            counts.setdefault((subject, name), {})[measures[measure]] = int(count)
    return Shown(people, columns, counts)
