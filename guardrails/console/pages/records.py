"""Sessions: who acted when, and each one told again: conversation, statements, what was understood, what ran, what came back, approvals."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guardrails.console.context import console_of
from guardrails.console.navigation import NavigationItem
from guardrails.console.page import form_of, page, viewer_of
from guardrails.console.projected import Projected, projected
from guardrails.console.projection.rows import SessionFilter, SessionRow
from guardrails.console.rendering import render
from guardrails.console.replaying import KeptValue, Step, kept_values, replay
from guardrails.console.stored import stored_leaves
from guardrails.console.viewer import Viewer
from guardrails.errors import Denied

__all__ = ["NAVIGATION", "ROUTES", "may_see_values"]

_PAGE_ROWS = 50
_PAGE_ENTRIES = 60
_FILTERS = ("principal", "agent", "conversation")


@page()
def show_sessions(request: Request) -> Response:
    """Lists sessions, the latest first."""
    query = request.query_params
    wanted = SessionFilter(**{name: query.get(name, "").strip()[:300] for name in _FILTERS})
    before = _number(query.get("before"))
    seen = projected(request)
    rows = seen.queries.sessions(wanted, before=before, limit=_PAGE_ROWS + 1)
    return render(
        request,
        "sessions.html",
        seen=seen,
        rows=rows[:_PAGE_ROWS],
        wanted=wanted,
        older=rows[_PAGE_ROWS - 1].first if len(rows) > _PAGE_ROWS else None,
        is_first=before is None,
    )


@page()
def show_session(request: Request) -> Response:
    """Tells one session again, without values."""
    seen = projected(request)
    session = _session(request, seen)
    return _render(request, seen, session, _number(request.query_params.get("after")), {}, is_revealed=False)


@page()
def show_values(request: Request) -> Response:
    """Tells one session again with the values that were kept of it; recorded in the ledger before they are shown.

    Raises:
        Denied: The viewer may not see them, or says not why (approval.reason_required).
    """
    console, viewer, seen = console_of(request), viewer_of(request), projected(request)
    session = _session(request, seen)
    if not may_see_values(viewer, session):
        raise Denied("approval.not_approver", "Values of this session are for the person it was for, and for auditors.")
    reason = str(form_of(request).get("reason", "")).strip()
    if not reason and not is_own(viewer, session):
        raise Denied("approval.reason_required", "Whoever looks at other people's values says why.")
    after = _number(str(form_of(request).get("after", "")))
    steps, _ = _steps(request, seen, session, after)
    entries = [entry for step in steps for entry in step.entries]
    principal = viewer.principal
    console.ledger.append(
        {
            "type": "values.viewed",
            "of": session.id,
            "by": {"id": principal.id, "issuer": principal.issuer, "verified": principal.verified},
            "from": entries[0].index if entries else session.first,
            "to": entries[-1].index if entries else session.last,
        },
        private={"reason": reason.encode("utf-8", "backslashreplace")},
    )
    return _render(request, seen, session, after, kept_values(console.ledger, entries), is_revealed=True)


def may_see_values(viewer: Viewer, session: SessionRow) -> bool:
    """Tells whether a viewer may see what was kept of a session: the person it was for, and auditors."""
    return viewer.has_role("auditor") or is_own(viewer, session)


def is_own(viewer: Viewer, session: SessionRow) -> bool:
    """Tells whether a session was the viewer's own: the same id by the same issuer, and no less sure who it is."""
    principal = viewer.principal
    is_as_sure = principal.verified != "unverified" or session.verified == "unverified"
    return (principal.id, principal.issuer) == (session.principal, session.issuer) and is_as_sure


def _session(request: Request, seen: Projected) -> SessionRow:
    name = request.path_params["id"]
    found = seen.queries.session(name)
    if found is None and (first := _number(name)) is not None:
        found = seen.queries.session_at(first)
    if found is None or not found.principal:
        raise HTTPException(404)
    return found


def _steps(request: Request, seen: Projected, session: SessionRow, after: int | None) -> tuple[list[Step], int | None]:
    """The steps of one page, and the index after which the next page begins."""
    rows = seen.queries.entries(session=session.id, after=-1 if after is None else after, limit=_PAGE_ENTRIES + 1)
    own = [row.index for row in rows[:_PAGE_ENTRIES]]
    following = own[-1] if len(rows) > _PAGE_ENTRIES else None
    ledger = console_of(request).ledger
    leaves = stored_leaves(ledger, own)
    requests = _requests(leaves)
    if after is None:
        requests.add(session.id)
    others = [index for index in seen.queries.about(requests) if index not in leaves] if requests else []
    leaves |= stored_leaves(ledger, others)
    return replay((index, leaves.get(index)) for index in sorted({*own, *others})), following


def _requests(leaves: dict[int, bytes]) -> set[str]:
    found: set[str] = set()
    for step in replay(leaves.items()):
        for entry in step.entries:
            for name in (entry.part("request"), entry.part("review"), entry.part("approval", "request")):
                if isinstance(name, str) and name:
                    found.add(name)
    return found


def _render(
    request: Request,
    seen: Projected,
    session: SessionRow,
    after: int | None,
    values: dict[int, list[KeptValue]],
    *,
    is_revealed: bool,
) -> Response:
    viewer = viewer_of(request)
    steps, following = _steps(request, seen, session, after)
    context: dict[str, Any] = {
        "seen": seen,
        "session": session,
        "steps": steps,
        "values": values,
        "is_revealed": is_revealed,
        "may_see_values": may_see_values(viewer, session),
        "is_own": is_own(viewer, session),
        "after": after,
        "following": following,
    }
    return render(request, "session.html", **context)


def _number(text: str | None) -> int | None:
    is_plain = text is not None and text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if is_plain and text is not None else None


NAVIGATION = (NavigationItem("/sessions", "Sessions", order=30),)
ROUTES = [
    Route("/sessions", show_sessions),
    Route("/sessions/{id}", show_session, methods=["GET"]),
    Route("/sessions/{id}/values", show_values, methods=["POST"]),
]
