"""How pages come to the projection: brought up to date first, as far as a page may wait for that."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from guardrails.console.context import console_of
from guardrails.console.projection.queries import Queries
from guardrails.errors import LedgerError, TamperedError

__all__ = ["Projected", "projected"]

_SOON = 1000
"""So many entries are folded while a page waits; more are left to the console's own thread."""


@dataclass(frozen=True, slots=True)
class Projected:
    """The projection as one page sees it.

    Args:
        queries: What it is asked.
        covered: How many entries it covers.
        size: How many there are; 0 where the ledger does not say.
        contradiction: Code of what is wrong with the ledger itself; empty where nothing is.
    """

    queries: Queries
    covered: int
    size: int
    contradiction: str = ""


def projected(request: Request) -> Projected:
    """Returns the projection, up to date or nearly so.

    Raises:
        LedgerError: The console has none, or it cannot be read (ledger.unavailable).
    """
    console = console_of(request)
    projection = console.projection
    if projection is None:
        raise LedgerError("ledger.unavailable", "This console was started without figures of the ledger.")
    try:
        projection.refresh(_SOON, wait=False)
        size, contradiction = console.ledger.size, ""
    except TamperedError as error:
        # The pages are there to show it.
        size, contradiction = 0, error.code
    return Projected(Queries(projection), projection.size, size, contradiction)
