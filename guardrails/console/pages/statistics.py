"""Statistics: decisions over time, refusals by rule, who was shown which sensitive columns, how long statements ran."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guardrails.console.context import console_of
from guardrails.console.figures import PERIODS, figures
from guardrails.console.navigation import NavigationItem
from guardrails.console.page import page
from guardrails.console.projected import projected
from guardrails.console.rendering import render
from guardrails.console.showing import now_s

__all__ = ["NAVIGATION", "ROUTES"]


@page()
def show_statistics(request: Request) -> Response:
    """Shows the figures of a period."""
    name = request.query_params.get("period", "month")
    period = PERIODS.get(name)
    if period is None:
        raise HTTPException(404)
    seen = projected(request)
    policy = console_of(request).policy
    protected = tuple(policy.file.columns) if policy else ()
    tabs = [(known.name, known.title, f"/statistics?period={known.name}") for known in PERIODS.values()]
    shown = figures(seen.queries, period, now_s(), protected=protected)
    return render(request, "statistics.html", seen=seen, tabs=tabs, period=period, figures=shown)


NAVIGATION = (NavigationItem("/statistics", "Statistics", order=60),)
ROUTES = [Route("/statistics", show_statistics)]
