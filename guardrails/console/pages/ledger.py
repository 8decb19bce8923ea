"""The ledger: its entries, one entry in full, and the evidence that the reader's browser checks them with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from guardrails.console.context import console_of
from guardrails.console.describing import Described, describe, read_entry, time_us
from guardrails.console.navigation import NavigationItem
from guardrails.console.page import page
from guardrails.console.projected import projected
from guardrails.console.projection.rows import EntryRow
from guardrails.console.rendering import render
from guardrails.console.stored import stored_consistency, stored_evidence, stored_leaves

__all__ = ["NAVIGATION", "ROUTES"]

_PAGE_ROWS = 50
_MOST_CHECKED = 200
_FILTERS = ("kind", "session", "principal")


@dataclass(frozen=True, slots=True)
class _Line:
    """An entry in the list."""

    row: EntryRow
    described: Described


@page()
def show_ledger(request: Request) -> Response:
    """Lists entries, the latest first."""
    query = request.query_params
    seen = projected(request)
    wanted = {name: query.get(name, "").strip()[:300] for name in _FILTERS}
    before = _number(query.get("before"))
    at = query.get("at", "").strip()
    if (index := _number(at)) is not None and before is None:
        before = index + 1
    elif at and before is None:
        found = seen.queries.index_at(_moment_us(at))
        before = None if found is None else found + 1
    rows = seen.queries.entries(
        kind=wanted["kind"],
        session=wanted["session"],
        principal=wanted["principal"],
        before=before,
        limit=_PAGE_ROWS + 1,
    )
    leaves = stored_leaves(console_of(request).ledger, (row.index for row in rows[:_PAGE_ROWS]))
    lines = [_Line(row, describe(read_entry(leaves.get(row.index)))) for row in rows[:_PAGE_ROWS]]
    return render(
        request,
        "ledger.html",
        seen=seen,
        lines=lines,
        wanted=wanted,
        at=at,
        kinds=seen.queries.kinds(),
        older=rows[_PAGE_ROWS - 1].index if len(rows) > _PAGE_ROWS else None,
        is_first=before is None,
    )


@page()
def show_entry(request: Request) -> Response:
    """Shows one entry as it is stored; whether it is the one that was signed is for the browser to find out."""
    ledger, index = console_of(request).ledger, request.path_params["index"]
    evidence = stored_evidence(ledger, [index])
    if not evidence.entries:
        raise HTTPException(404)
    seen = projected(request)
    entry = read_entry(evidence.entries[0].leaf)
    session = str((entry or {}).get("session") or "")
    row = seen.queries.session(session) if session else None
    return render(
        request,
        "entry.html",
        index=index,
        size=evidence.size,
        described=describe(entry),
        entry=entry,
        time_us=time_us(entry) if entry else None,
        session=row,
        is_missing=evidence.entries[0].leaf is None,
        is_archived=evidence.entries[0].is_archived,
    )


@page()
def give_proofs(request: Request) -> Response:
    """Answers with entries' bytes, their proofs, the checkpoint and the log's key, as they are stored."""
    indexes = [_number(text) for text in request.query_params.getlist("index")]
    if len(indexes) > _MOST_CHECKED or None in indexes:
        raise HTTPException(400)
    evidence = stored_evidence(console_of(request).ledger, [index for index in indexes if index is not None])
    return JSONResponse(evidence.as_json())


@page()
def give_consistency(request: Request) -> Response:
    """Answers with the hashes that show that an earlier tree is a prefix of a later one."""
    old_size, new_size = (_number(request.query_params.get(name)) for name in ("from", "to"))
    if not old_size or new_size is None or old_size > new_size:
        raise HTTPException(400)
    proof = stored_consistency(console_of(request).ledger, old_size, new_size)
    return JSONResponse({"proof": None if proof is None else [digest.hex() for digest in proof]})


def _number(text: str | None) -> int | None:
    """A plain number as an index or a size has it; None for anything else."""
    is_plain = text is not None and text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if is_plain and text is not None else None


def _moment_us(text: str) -> int:
    """Unix microseconds of a day or a moment, UTC where it says no zone.

    Raises:
        HTTPException: It is neither (400).
    """
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000_000
    except (ValueError, OverflowError) as error:
        raise HTTPException(400) from error


NAVIGATION = (NavigationItem("/ledger", "Ledger", order=50),)
ROUTES = [
    Route("/ledger", show_ledger),
    Route("/ledger/proofs", give_proofs),
    Route("/ledger/consistency", give_consistency),
    Route("/ledger/{index:int}", show_entry),
]
