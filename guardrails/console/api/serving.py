"""Serving the API: who calls, may they, is the request well formed; then the operation, and its answer or refusal as JSON.

Whoever cannot be told gets 401 and nothing else, whatever they asked for. Refusals are problem details (RFC 9457). A caller shows a
bearer token (RFC 6750), or has the cookie of a signed-in browser; with a cookie, what changes something needs the token of the pages'
forms in a header, as other sites cannot send one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from guardrails.codes import CODES
from guardrails.console.api.models import Problem
from guardrails.console.api.operations import Call, Nothing, Operation
from guardrails.console.context import Console, console_of
from guardrails.console.failing import status_of
from guardrails.console.page import GUARDED, Endpoint
from guardrails.console.security import CSRF_HEADER, SAFE_METHODS, require_csrf, require_same_origin
from guardrails.console.sessions import find_viewer
from guardrails.console.viewer import Viewer, roles_of
from guardrails.errors import GuardrailsError, IdentityError, TamperedError

__all__ = ["PREFIX", "routes_of"]

PREFIX = "/api/v1"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
_PROBLEM = "application/problem+json"
_MOST_PROBLEMS = 20
_LOG = logging.getLogger(__name__)


class _Refused(Exception):
    """A request that is refused for its form."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.title)
        self.problem = problem
        self.headers = headers


def routes_of(operations: Sequence[Operation]) -> list[Route]:
    """Returns a route for every path of the operations, and one for everything else below the prefix."""
    paths: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = operation
    routes = [Route(PREFIX + path, _endpoint(known), methods=_METHODS) for path, known in paths.items()]
    return [*routes, Route(PREFIX + "{rest:path}", _endpoint({}), methods=_METHODS)]


def _endpoint(known: Mapping[str, Operation]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            viewer = await run_in_threadpool(_caller, request, console_of(request))
            operation = _wanted(request, known)
            if not viewer.roles.intersection(operation.roles):
                raise IdentityError("identity.role_missing", "Your groups may not do this.")
            call = Call(
                console_of(request),
                viewer,
                _parameters(request, operation),
                await _body(request, operation),
                int(time.time()),
            )
            found = await run_in_threadpool(operation.run, call)
        except _Refused as refused:
            return _problem(refused.problem, refused.headers)
        except GuardrailsError as error:
            return _refusal(error)
        return JSONResponse(found.model_dump(mode="json", by_alias=True))

    setattr(endpoint, GUARDED, True)
    return endpoint


def _caller(request: Request, console: Console) -> Viewer:
    """Who calls.

    Raises:
        IdentityError: Nobody that could be told, or their groups may not look at all.
    """
    given = request.headers.get("authorization")
    if given is None:
        require_same_origin(request, console.settings)
        viewer = find_viewer(request, console)
        if viewer is None:
            raise IdentityError("identity.sign_in_required", "Nobody is signed in.")
        if request.method not in SAFE_METHODS:
            require_csrf(viewer, request.headers.get(CSRF_HEADER))
    else:
        scheme, _, token = given.partition(" ")
        if console.tokens is None or scheme.lower() != "bearer" or not token.strip():
            raise IdentityError("identity.sign_in_required", "The token is not one that is taken here.")
        try:
            principal = console.tokens.principal(token.strip())
        except IdentityError:
            # Why, is for whoever asks the provider for tokens.
            raise IdentityError("identity.sign_in_required", "The token is not good.") from None
        if principal.actors:
            raise IdentityError("identity.role_missing", "An agent that acts for somebody has no part in what people decide.")
        viewer = Viewer(principal, roles_of(principal, console.settings))
    if not viewer.roles:
        raise IdentityError("identity.role_missing", "Your groups may not see this console.")
    return viewer


def _wanted(request: Request, known: Mapping[str, Operation]) -> Operation:
    if not known:
        raise _Refused(Problem(status=404, title="There is no such operation."))
    method = "GET" if request.method == "HEAD" else request.method
    if method not in known:
        allowed = sorted({*known, *({"HEAD"} if "GET" in known else ())})
        raise _Refused(Problem(status=405, title="There is no such operation."), {"Allow": ", ".join(allowed)})
    return known[method]


def _parameters(request: Request, operation: Operation) -> BaseModel:
    given: dict[str, object] = {}
    for name, value in request.query_params.multi_items():
        if name in given or name in request.path_params:
            raise _Refused(Problem(status=422, title="A parameter stands twice."))
        given[name] = value
    return _model(operation.parameters, given | request.path_params)


async def _body(request: Request, operation: Operation) -> BaseModel:
    if operation.body is Nothing:
        return Nothing()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _Refused(Problem(status=415, title="The body has to be application/json."))
    try:
        return operation.body.model_validate_json(await request.body())
    except ValidationError as error:
        raise _malformed(error) from None


def _model(model: type[BaseModel], given: Mapping[str, object]) -> BaseModel:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _malformed(error) from None


def _malformed(error: ValidationError) -> _Refused:
    """Where it is wrong, and how; what was sent is not sent back."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    problems = tuple({"at": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in found[:_MOST_PROBLEMS])
    return _Refused(Problem(status=422, title="The request is not of the form that the document describes.", problems=problems))


def _refusal(error: GuardrailsError) -> Response:
    # That the ledger contradicts itself is no failure of this server.
    status = 409 if isinstance(error, TamperedError) else status_of(error)
    if status == 401:
        title = CODES["identity.sign_in_required"].title
        return _problem(Problem(status=401, title=title), {"WWW-Authenticate": "Bearer"})
    if status >= 500:
        _LOG.error("console: %s", error.diagnostics())
    return _problem(Problem(status=status, title=error.message, code=error.code, hint=error.hint))


def _problem(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(problem.model_dump(mode="json"), problem.status, headers=headers, media_type=_PROBLEM)
