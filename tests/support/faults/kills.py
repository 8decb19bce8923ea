"""Random SIGKILLs of processes that append, by time from outside and by system call from inside, one ledger after another."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.faults.aftermath import examine
from tests.support.faults.nursery import LEDGER, Case, Nursery

__all__ = ["Tally", "random_kills"]

KILLS_OF_A_LEDGER = 20
_LONGEST_S = 0.08
_LATEST_CALL = 300


@dataclass(slots=True)
class Tally:
    """What a run of kills came to.

    Args:
        by_time: Kills from outside.
        by_call: Kills before, after or within a system call.
        before_the_first: Kills that came before anything was acknowledged.
        acknowledged: Entries that were called durable; each is there after every later kill.
        unacknowledged: Entries that are there, though the kill came before anybody was told.
        recovered: Intents that were given up afterwards.
        ledgers: Ledgers that were killed over and over.
    """

    by_time: int = 0
    by_call: int = 0
    before_the_first: int = 0
    acknowledged: int = 0
    unacknowledged: int = 0
    recovered: int = 0
    ledgers: int = 0


def random_kills(
    nursery: Nursery, folder: Path, count: int, chance: random.Random, progress: Callable[[int], None] = lambda _: None
) -> Tally:
    """Kills `count` appenders and examines the ledger after each.

    Raises:
        AssertionError: A kill did not land, or the ledger is not what it must be.
    """
    tally = Tally()
    told: list[tuple[int, str, str]] = []
    home = folder
    for kill in range(count):
        if kill % KILLS_OF_A_LEDGER == 0:
            home, told = folder / f"ledger-{kill}", []
            home.mkdir()
            tally.ledgers += 1
        shape = chance.choice(["endless", "endless-threads"])
        if chance.random() < 0.5:
            ended = nursery.run(Case(str(home), shape, kill_after_s=chance.uniform(0, _LONGEST_S)))
            tally.by_time += 1
        else:
            kind = chance.choice(["kill-before", "kill-after", "torn"])
            ended = nursery.run(Case(str(home), shape, kind, chance.randint(1, _LATEST_CALL), kill_after_s=30))
            assert len(ended.landed) == 1, (kill, kind)
            tally.by_call += 1
        assert ended.was_killed, (kill, ended.status)
        assert not ended.refusals, (kill, ended.lines)
        told += ended.acknowledged
        tally.before_the_first += not ended.acknowledged
        tally.acknowledged += len(ended.acknowledged)
        is_last = kill % KILLS_OF_A_LEDGER == KILLS_OF_A_LEDGER - 1 or kill == count - 1
        found = examine(home / LEDGER, told, closes=is_last)
        if is_last:
            tally.unacknowledged += found.unacknowledged
            tally.recovered += found.recovered
        progress(kill + 1)
    return tally
