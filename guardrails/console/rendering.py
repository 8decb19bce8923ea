"""Templates: one environment for a console, in which everything is escaped and a missing name is an error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from guardrails.console import showing
from guardrails.console.context import console_of
from guardrails.console.navigation import NavigationItem
from guardrails.console.security import CSRF_FIELD
from guardrails.console.viewer import Viewer

__all__ = ["STATIC", "environment", "is_fragment", "render", "static_url"]

STATIC = files("guardrails.console") / "static"


def environment(navigation: Sequence[NavigationItem]) -> jinja2.Environment:
    """Returns the environment of one console: its templates, filters and navigation.

    Args:
        navigation: What the pages list, in order.
    """
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("guardrails.console", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=showing.finalised,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(showing.FILTERS)
    made.globals.update(navigation=tuple(navigation), static=static_url)
    return made


def render(request: Request, name: str, *, status: int = 200, **context: object) -> HTMLResponse:
    """Answers with a template.

    Args:
        request: Which is answered.
        name: Of the template.
        status: HTTP status.
        context: Names for the template. It has besides: `viewer` (None on pages for everybody), `title` of the console, `path`,
            `csrf_field()` for forms, `now` (Unix seconds).
    """
    viewer: Viewer | None = getattr(request.state, "viewer", None)
    template = request.app.state.templates.get_template(name)
    shown = {
        "viewer": viewer,
        "console_title": console_of(request).settings.title,
        "path": request.url.path,
        "now": showing.now_s(),
        "csrf_field": _csrf_field(viewer),
    }
    return HTMLResponse(template.render(shown | context), status)


def is_fragment(request: Request) -> bool:
    """Tells whether htmx asks for a part of a page instead of a browser for a whole one."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-history-restore-request") != "true"


@lru_cache
def static_url(name: str) -> str:
    """Returns the address of a static file, which changes with its content, so that it can be kept for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def _csrf_field(viewer: Viewer | None) -> Callable[[], Markup]:
    token = viewer.csrf_token if viewer else ""
    return lambda: Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, token)
