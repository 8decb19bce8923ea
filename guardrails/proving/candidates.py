"""The statements of a proof, in order: recorded ones, questions about each protected column, generated queries, generated changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from guardrails.model import Params
from guardrails.proving.grammar import Choose, change, query, seeded
from guardrails.proving.probes import probes
from guardrails.proving.vocabulary import Vocabulary

__all__ = ["Candidate", "Origin", "changes", "queries", "recorded"]

Origin: TypeAlias = Literal["recorded", "probe", "query", "change"]
_SEEDS = 10_000_000
_TURN = 25
"""Statements over one handful of relations."""


@dataclass(frozen=True)
class Candidate:
    """One statement to try.

    Args:
        sql: The statement.
        origin: Where it comes from.
        params: Its values.
        seed: What it is made from, None when it is not generated.
        make: Makes it, and smaller ones, from choices; None when it is not generated.
    """

    sql: str
    origin: Origin
    params: Params = field(default_factory=dict)
    seed: int | None = None
    make: Callable[[Choose], str] | None = None


def recorded(statements: Sequence[tuple[str, Params]]) -> Iterator[Candidate]:
    """Yields statements that were given."""
    for sql, params in statements:
        yield Candidate(sql, "recorded", params)


def queries(
    vocabulary: Vocabulary, examples: Mapping[tuple[str, str], Sequence[object]], count: int, seed: int
) -> Iterator[Candidate]:
    """Yields the questions about each protected column, then so many generated queries."""
    for sql in probes(vocabulary.flavour(0), vocabulary.probed(), examples):
        yield Candidate(sql, "probe")
    for number in range(count):
        flavour, depth = vocabulary.flavour(number // _TURN), 1 + number % 2

        def make(choose: Choose, flavour=flavour, depth=depth) -> str:  # type: ignore[no-untyped-def]
            return query(choose, flavour, depth=depth)

        own = seed * _SEEDS + number
        yield Candidate(make(seeded(own)), "query", seed=own, make=make)


def changes(vocabulary: Vocabulary, count: int, seed: int) -> Iterator[Candidate]:
    """Yields so many generated changes. They are not made smaller: each finds what those before it left."""
    for number in range(count):
        flavour = vocabulary.flavour(number // _TURN, is_change=True)
        if not flavour.tables():
            continue
        own = seed * _SEEDS + _SEEDS // 2 + number
        yield Candidate(change(seeded(own), flavour), "change", seed=own)
