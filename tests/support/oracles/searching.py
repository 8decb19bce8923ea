"""Looking for differences over ranges of seeds, and making each short enough to paste."""

from __future__ import annotations

from collections.abc import Iterable

from guardrails.proving.grammar.shrink import shrink
from tests.support.grammar import Flavour, any_statement, seeded
from tests.support.oracles.base import Examiner

__all__ = ["differences", "shrunk"]


def shrunk(examiner: Examiner, flavour: Flavour, seed: int, question: str) -> str:
    """Returns the difference about `question` that the statement of a seed shows, with a short statement that shows it too."""
    last = [""]

    def fails(sql: str) -> bool:
        verdict = examiner.examine(sql).verdict
        found = [f for f in verdict.findings if f.question == question] if verdict else []
        last[0] = found[0].detail if found else last[0]
        return bool(found)

    sql = shrink(lambda choose: any_statement(choose, flavour), seeded(seed), fails)
    fails(sql)
    return f"{last[0]}\n      {sql}"


def differences(examiner: Examiner, flavour: Flavour, seeds: Iterable[int], most: int = 5) -> list[str]:
    """Returns every difference between the library and the engine over the seeds, shrunk, up to `most`."""
    found: list[str] = []
    for seed in seeds:
        examined = examiner.examine(any_statement(seeded(seed), flavour))
        for difference in examined.verdict.findings if examined.verdict else ():
            found.append(f"seed {seed}, {difference.question}: {shrunk(examiner, flavour, seed, difference.question)}")
            if len(found) >= most:
                return found
    return found
