"""The policy: its rules with where they stand and when they last decided, what is protected, and a dry run of any statement."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guardrails.console.context import console_of
from guardrails.console.dry_run import Asked, DryRun, dry_run
from guardrails.console.navigation import NavigationItem
from guardrails.console.page import form_of, page, viewer_of
from guardrails.console.projected import projected
from guardrails.console.rendering import is_fragment, render
from guardrails.console.rules import policy_of, rules_shown
from guardrails.console.showing import now_s
from guardrails.console.viewer import Viewer
from guardrails.errors import GuardrailsError, UsageError
from guardrails.model import Params, Principal, Value

__all__ = ["NAVIGATION", "ROUTES"]

_FIELDS = ("sql", "params", "id", "groups", "attributes", "agent", "purpose")
_LONGEST = 100_000
_MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class _Form:
    """What the form of the dry run holds, as written."""

    sql: str = ""
    params: str = ""
    id: str = ""
    groups: str = ""
    attributes: str = ""
    agent: str = ""
    purpose: str = ""


@page(roles=("auditor",))
def show_policy(request: Request) -> Response:
    """Shows the policy in force."""
    console = console_of(request)
    policy = policy_of(console)
    bound = console.guard.bound_policy() if console.guard else None
    queries = projected(request).queries if console.projection is not None else None
    return render(
        request,
        "policy.html",
        policy=policy,
        file=policy.file,
        file_name=PurePath(policy.source).name,
        rules=rules_shown(policy, bound, queries, console.desk.pending(now=now_s(), limit=_MOST_WAITING)),
        has_hits=queries is not None,
    )


@page()
def show_dry_run(request: Request) -> Response:
    """Shows the empty form."""
    return _answer(request, _Form())


@page()
def try_statement(request: Request) -> Response:
    """Decides about a statement, and shows what would happen to each name in it."""
    given = _form(form_of(request))
    viewer, guard = viewer_of(request), console_of(request).guard
    if guard is None:
        return _answer(request, given)
    try:
        asked = _asked(given, viewer)
        found = dry_run(guard, asked, is_whole=viewer.has_role("auditor"))
    except GuardrailsError as error:
        return _answer(request, given, error=error)
    return _answer(request, given, found=found, asked=asked)


def _answer(
    request: Request,
    given: _Form,
    *,
    found: DryRun | None = None,
    asked: Asked | None = None,
    error: GuardrailsError | None = None,
) -> Response:
    console, viewer = console_of(request), viewer_of(request)
    is_part = is_fragment(request)
    is_whole = viewer.has_role("auditor")
    return render(
        request,
        "dry_run_result.html" if is_part else "dry_run.html",
        # htmx leaves out what is refused.
        status=400 if error and not is_part else 200,
        given=given if given.id or not is_whole else replace(given, **_own(viewer)),
        found=found,
        asked=asked,
        error=error,
        has_guard=console.guard is not None,
        is_whole=is_whole,
        purposes=sorted(policy_of(console).file.purposes) if is_whole and console.guard else [],
    )


def _form(form: FormData) -> _Form:
    return _Form(**{name: value if isinstance(value := form.get(name, ""), str) else "" for name in _FIELDS})


def _own(viewer: Viewer) -> dict[str, str]:
    principal = viewer.principal
    attributes = {name: value for name, value in principal.attributes.items() if isinstance(value, str | int | bool)}
    return {
        "id": principal.id,
        "groups": ", ".join(sorted(principal.groups)),
        "attributes": json.dumps(attributes, ensure_ascii=False) if attributes else "",
    }


def _asked(given: _Form, viewer: Viewer) -> Asked:
    """What is tried: as somebody else only for auditors, whatever the form says.

    Raises:
        UsageError: A field is not of its form (usage.input_invalid).
    """
    if not given.sql.strip() or len(given.sql) > _LONGEST:
        raise UsageError("usage.input_invalid", "There is no statement, or it is too long.", hint="Write one statement.")
    principal = viewer.principal
    if viewer.has_role("auditor") and given.id.strip():
        groups = frozenset(name for part in given.groups.split(",") if (name := part.strip()))
        principal = Principal(given.id.strip(), groups, _attributes(given.attributes))
    params = _json(given.params, "The bound values are")
    if not isinstance(params, dict | list):
        raise UsageError("usage.input_invalid", "The bound values are a JSON object or array.")
    return Asked(given.sql, principal, _plain(params), given.agent.strip() or None, given.purpose.strip() or None)


def _attributes(text: str) -> dict[str, Value]:
    found = _json(text, "The attributes are")
    if not isinstance(found, dict):
        raise UsageError("usage.input_invalid", "The attributes are a JSON object.")
    _plain(found)
    return found


def _plain(values: dict[str, Any] | list[Any]) -> Params:
    if any(isinstance(value, dict | list) for value in (values.values() if isinstance(values, dict) else values)):
        raise UsageError("usage.input_invalid", "A value is neither a text, a number, true, false nor null.")
    return values


def _json(text: str, what: str) -> Any:
    if not text.strip():
        return {}
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise UsageError("usage.input_invalid", f"{what} not valid JSON.") from None


def _no_constant(name: str) -> object:
    raise ValueError(name)


NAVIGATION = (
    NavigationItem("/policy", "Policy", roles=("auditor",), order=60),
    NavigationItem("/try", "Dry run", order=70),
)
ROUTES = [
    Route("/policy", show_policy),
    Route("/try", show_dry_run, methods=["GET"]),
    Route("/try", try_statement, methods=["POST"]),
]
