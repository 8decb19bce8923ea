"""Shrinking a statement by the choices that made it: fewer of them, and smaller ones, as long as it still fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guardrails.proving.grammar.choices import Choose

__all__ = ["shrink"]

_TRIES = 600


def shrink(make: Callable[[Choose], str], choose: Choose, fails: Callable[[str], bool], tries: int = _TRIES) -> str:
    """Returns a short statement that still fails.

    Args:
        make: Makes a statement from choices.
        choose: The choices of the failing one.
        fails: Whether a statement fails as the first one does.
        tries: Statements that are tried at most.
    """
    made: list[int] = []

    def record(n: int) -> int:
        made.append(choose(n))
        return made[-1]

    best, sql = made, make(record)
    tried = 0
    size = max(len(best) // 2, 1)
    while size:
        position = 0
        while position < len(best) and tried < tries:
            for candidate in _smaller(best, position, size):
                tried += 1
                text = make(_replay(candidate))
                if len(text) < len(sql) and fails(text):
                    best, sql = candidate, text
                    break
            else:
                position += size
        size //= 2
    return sql


def _smaller(choices: list[int], position: int, size: int) -> list[list[int]]:
    head, cut, tail = choices[:position], choices[position : position + size], choices[position + size :]
    found = [head + tail]
    if any(cut):
        found.append(head + [0] * len(cut) + tail)
    return found


def _replay(choices: Sequence[int]) -> Choose:
    """Gives the choices again, cut to their range; 0, the simplest, after the last one."""
    left = iter(choices)
    return lambda n: min(next(left, 0), n - 1)
