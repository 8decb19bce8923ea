"""The live feed: what agents do now, as the ledger gets to know it; and the stream of events that tells open pages of changes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from guardrails.console.context import Console, console_of
from guardrails.console.describing import read_entry
from guardrails.console.feed import feed_of
from guardrails.console.navigation import NavigationItem
from guardrails.console.page import page
from guardrails.console.rendering import is_fragment, render
from guardrails.console.stored import stored_leaves

__all__ = ["NAVIGATION", "ROUTES"]

_ENTRIES = 300
_ROWS = 60
_WAIT_S = 0.5


@page()
def show_live(request: Request) -> Response:
    """Shows the newest entries, and the sessions that made them. Statements are normalised: no value is in them."""
    ledger = console_of(request).ledger
    size = ledger.size
    # As they are stored: entries that were tampered with are shown too, and their own pages prove it.
    stored = stored_leaves(ledger, range(max(ledger.archived, size - _ENTRIES), size))
    feed = feed_of(((index, read_entry(leaf)) for index, leaf in sorted(stored.items())), limit=_ROWS)
    return render(request, "live_rows.html" if is_fragment(request) else "live.html", feed=feed)


@page()
async def stream_events(request: Request) -> Response:
    """Tells of changes as server-sent events (HTML standard, section 9.2) that carry no data but a number."""
    console = console_of(request)
    if console.changes.is_full:
        return Response(status_code=503, headers={"Retry-After": "30"})
    return StreamingResponse(_events(console), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _events(console: Console) -> AsyncIterator[str]:
    def wait(seen: object) -> object:
        # Returns at once when requests change; the ledger is looked at twice a second.
        number = console.desk.watch(_WAIT_S, seen[0]) if isinstance(seen, tuple) else console.desk.watch(0)
        return number, console.ledger.size

    yield ": listening\n\n"
    async for number in console.changes.listen(wait):
        yield ": still here\n\n" if number is None else f"event: changed\nid: {number}\ndata: {number}\n\n"


NAVIGATION = (NavigationItem("/live", "Live", order=40),)
ROUTES = [Route("/live", show_live), Route("/live/events", stream_events)]
