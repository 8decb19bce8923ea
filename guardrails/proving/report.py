"""What a proof found, as data, as text for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

__all__ = ["Difference", "Report"]

_EXECUTED = 300
_ORIGINS = {"recorded": "recorded", "probe": "about one column", "query": "queries", "change": "changes"}


@dataclass(frozen=True, slots=True)
class Difference:
    """A statement that two twins answer differently, shrunk where it was generated.

    Args:
        sql: The statement.
        values: Its bound values, as text; empty without any.
        seed: What it was generated from, None when it was not.
        hides: What the twins differ in: the values of masked columns, or rows that a filter hides.
        executed: What the guard made of it.
        first: The first twin's answer, as text.
        second: The other's.
    """

    sql: str
    values: str
    seed: int | None
    hides: Literal["values", "rows"]
    executed: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared, and what came out.

    Args:
        dialect: The engine's.
        principal: For whom.
        seed: Of the whole run.
        rows: By table the rows that each twin got.
        varied: By protected column in how many rows the twins differ.
        kept_equal: By protected column why its values are the same in both, so that nothing is proven of it.
        hidden: By relation with a row filter how many rows it hides, of which every one that could be was changed or removed.
        unproven: Name and reason of what the policy protects and the twins do not test.
        left_out: Name and reason of what was not copied or not filled.
        tried: Statements by origin: `recorded` were given, each `probe` asks about one protected column, each `query` and `change` is
            generated.
        refused: By code the statements that the guard refused, in both twins alike.
        compared: Statements whose answers were compared; of these `protected` read a protected column or filtered relation, and
            `failed` ended with the same error.
        protected: See `compared`.
        failed: See `compared`.
        unsettled: Statements that one twin answers differently from time to time, or not in time; they say nothing.
        compared_hidden: Statements compared against the twin whose hidden rows differ.
        control: Of how many statements, run without masks to see that the twins tell them apart, how many differed.
        differences: What was found; none in a proof.
        difference_count: How many statements differed, also those that are not listed.
    """

    dialect: str
    principal: str
    seed: int
    rows: Mapping[str, int]
    varied: Mapping[str, int]
    kept_equal: Mapping[str, str]
    hidden: Mapping[str, int]
    unproven: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    tried: Mapping[str, int]
    refused: Mapping[str, int]
    compared: int
    protected: int
    failed: int
    unsettled: int
    compared_hidden: int
    control: tuple[int, int]
    differences: tuple[Difference, ...] = field(default=())
    difference_count: int = 0

    @property
    def is_proven(self) -> bool:
        """Whether no statement told the twins apart."""
        return not self.difference_count

    def as_json(self) -> dict[str, object]:
        """Returns the fields, and whether it is proven."""
        return {"proven": self.is_proven, **asdict(self)}

    def as_text(self) -> str:
        """Returns some lines for people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        held = f"{sum(self.rows.values())} rows in {len(self.rows)} tables each"
        yield f"{self.dialect}: twins for {self.principal}, seed {self.seed}, {held}"
        for name, count in self.varied.items():
            yield f"  differs     {name} in {count} rows"
        for name, reason in self.kept_equal.items():
            yield f"  kept equal  {name}: {reason}"
        for name, count in self.hidden.items():
            yield f"  hidden      {count} rows of {name}, changed or removed in a third twin"
        for name, reason in self.unproven:
            yield f"  not proven  {name}: {reason}"
        for name, reason in self.left_out:
            yield f"  left out    {name}: {reason}"
        refused = sum(self.refused.values())
        tried = ", ".join(f"{_ORIGINS[origin]} {count}" for origin, count in self.tried.items())
        yield f"statements    {sum(self.tried.values())} ({tried}), of which {refused} refused{self._codes()}"
        yield f"compared      {self.compared}, of which {self.protected} touch what is protected, and {self.failed} fail alike"
        if self.compared_hidden:
            yield f"              {self.compared_hidden} also with other hidden rows"
        if self.unsettled:
            yield f"unsettled     {self.unsettled} without the same answer twice, or not in time"
        yield f"control       {self.control[1]} of {self.control[0]} differ once the masks are taken away"
        yield f"differences   {self.difference_count}"
        for found in self.differences:
            yield from _told(found)

    def _codes(self) -> str:
        return f" ({', '.join(f'{code} {n}' for code, n in self.refused.items())})" if self.refused else ""


def _told(found: Difference) -> Iterator[str]:
    origin = f"seed {found.seed}" if found.seed is not None else "as it was asked"
    yield f"\n-- {origin}; the twins differ in {'protected values' if found.hides == 'values' else 'hidden rows'}"
    yield f"{found.sql};" + (f"  -- values: {found.values}" if found.values else "")
    yield f"-- runs as: {found.executed[:_EXECUTED]}{' …' if len(found.executed) > _EXECUTED else ''}"
    yield f"-- one:     {found.first}"
    yield f"-- other:   {found.second}"
