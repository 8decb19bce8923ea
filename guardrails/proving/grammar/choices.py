"""Choices: the one source of everything that a generated statement varies in.

Choice 0 is always the simplest form, so that hypothesis shrinks towards short statements; a seeded random makes them in bulk.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["Choose", "Chooser", "seeded"]

Choose = Callable[[int], int]
"""Returns a number from 0 to n - 1."""
T = TypeVar("T")


def seeded(seed: int) -> Choose:
    """Returns choices from a seed."""
    source = random.Random(seed).random
    return lambda n: int(source() * n)


class Chooser:
    """Choices in the forms that a grammar needs."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self._names = 0

    def one(self, items: Sequence[T]) -> T:
        return items[self.choose(len(items))]

    def chance(self, n: int) -> bool:
        """True once in n, never for choice 0."""
        return self.choose(n) == n - 1

    def some(self, items: Sequence[T], most: int) -> list[T]:
        """One to `most` different items, in their order."""
        wanted = min(1 + self.choose(most), len(items))
        left = list(range(len(items)))
        picked = sorted(left.pop(self.choose(len(left))) for _ in range(wanted))
        return [items[i] for i in picked]

    def fresh(self, prefix: str) -> str:
        self._names += 1
        return f"{prefix}{self._names}"
