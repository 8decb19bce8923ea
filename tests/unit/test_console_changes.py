"""One watcher for all who listen: when it fails they are let go, and who comes next has it tried anew."""

from __future__ import annotations

import asyncio
import itertools

from guardrails.console.changes import Changes


async def test_a_watcher_that_failed_is_tried_anew_while_somebody_still_listens() -> None:
    changes, states, fails = Changes(), itertools.count(), True

    def wait(_: object) -> object:
        if fails:
            raise OSError("gone")
        return next(states)

    stale = changes.listen(wait, silence_s=5)
    waiting = asyncio.ensure_future(anext(stale, "let go"))
    await asyncio.sleep(0.05)
    fails = False
    fresh = changes.listen(wait, silence_s=5)
    assert isinstance(await asyncio.wait_for(anext(fresh), 5), int)
    waiting.cancel()
    await fresh.aclose()
    await changes.end()
