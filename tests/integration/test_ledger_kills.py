"""SIGKILL at random: after each, the ledger verifies, holds what was acknowledged and goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.support.faults import Nursery, compiler
from tests.support.faults.kills import random_kills


@pytest.mark.parametrize("kills", [40, pytest.param(1000, marks=pytest.mark.fuzz)])
def test_nothing_acknowledged_is_lost_by_kills(tmp_path: Path, kills: int) -> None:
    if compiler() is None:
        missing("a C compiler on Linux is needed to kill within system calls")
    seed = random.randrange(2**32)
    try:
        with Nursery(tmp_path) as nursery:
            tally = random_kills(nursery, tmp_path, kills, random.Random(seed))
    except AssertionError as error:
        raise AssertionError(f"seed {seed}") from error
    assert tally.by_time + tally.by_call == kills
    assert min(tally.by_time, tally.by_call) > kills / 4
    assert tally.acknowledged > kills
    assert tally.unacknowledged + tally.before_the_first > 0, "no kill came between an entry and its acknowledgement"
