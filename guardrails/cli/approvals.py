"""`guardrails approvals`: list what waits for a person, and answer it as a second person.

Exit status: 0 done, 1 the answer was not accepted, 2 usage. Who answers is taken from the command line and so recorded as unverified;
the ledger gets every answer before it counts.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import ParamSpec

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from guardrails.approval import ApprovalStore
from guardrails.approval.channel import printable
from guardrails.errors import Denied, GuardrailsError, IdentityError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.location import Location
from guardrails.model import ApprovalRequest, Principal

__all__ = ["approvals"]

P = ParamSpec("P")

_REFUSED_STATUS = 1
_USAGE_STATUS = 2


@click.group()
def approvals() -> None:
    """List, approve and deny what waits for a person."""


_ledger_option = click.option("--ledger", "url", required=True, metavar="URL_OR_PATH", help="sqlite:///path, or a path.")
_by_option = click.option("--by", "approver", required=True, metavar="ID", help="Who answers.")
_group_option = click.option("--group", "groups", multiple=True, metavar="G", help="A group of who answers; may be repeated.")
_reason_option = click.option("--reason", default="", help="Why.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


def _reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turns the library's errors into a line on standard error and an exit status."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except GuardrailsError as error:
            click.echo(f"error: {printable(str(error))}", err=True)
            sys.exit(_REFUSED_STATUS if isinstance(error, (Denied, IdentityError)) else _USAGE_STATUS)

    return wrapped


@approvals.command("list")
@_ledger_option
@_json_option
@_reports_errors
def list_requests(url: str, as_json: bool) -> None:
    """Print the requests that wait for an answer, oldest first."""
    _require_ledger(url)
    now = int(time.time())
    with ApprovalStore.open(url) as store:
        requests = store.pending(now=now)
    if as_json:
        for request in requests:
            click.echo(json.dumps(_fields(request)))
        return
    if not requests:
        click.echo("Nothing waits for an answer.")
        return
    table = Table("request", "requester", "agent", "purpose", "left", "groups", "statement", box=None, pad_edge=False)
    for request in requests:
        cells = [request.id, request.requester, request.agent or "", request.purpose or "", f"{request.expires_at - now} s"]
        cells += [", ".join(request.terms.groups), request.sql]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    # Without a terminal nothing is wrapped at 80 columns, so that other programs can read the lines.
    Console(width=None if sys.stdout.isatty() else 10_000).print(table)


@approvals.command()
@click.argument("request_id", metavar="REQUEST")
@_ledger_option
@_by_option
@_group_option
@_reason_option
@_json_option
@_reports_errors
def approve(request_id: str, url: str, approver: str, groups: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Say yes to REQUEST."""
    _answer("approved", request_id, url, Principal(approver, frozenset(groups)), reason, as_json)


@approvals.command()
@click.argument("request_id", metavar="REQUEST")
@_ledger_option
@_by_option
@_group_option
@_reason_option
@_json_option
@_reports_errors
def deny(request_id: str, url: str, approver: str, groups: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Say no to REQUEST."""
    _answer("denied", request_id, url, Principal(approver, frozenset(groups)), reason, as_json)


def _answer(answer: str, request_id: str, url: str, by: Principal, reason: str, as_json: bool) -> None:
    _require_ledger(url)
    with Ledger.open(url) as ledger, ApprovalStore.open(url) as store:

        def record(request: ApprovalRequest) -> None:
            ledger.append(
                {
                    "type": "approval.decided",
                    "session": request.id,
                    "request": request.id,
                    "digest": request.digest,
                    "answer": answer,
                    "approver": {"id": by.id, "issuer": by.issuer, "verified": by.verified},
                },
                private={"reason": reason.encode("utf-8", "backslashreplace")},
            )

        decide = store.approve if answer == "approved" else store.deny
        decide(request_id, by, reason, int(time.time()), record=record)
    if as_json:
        click.echo(json.dumps({"request": request_id, "answer": answer, "approver": by.id}))
    else:
        click.echo(f"{printable(request_id)} {answer}")


def _require_ledger(url: str) -> None:
    path = Location.parse(url).path
    if path is None:
        raise UsageError("usage.database_unsupported", "Approvals in memory cannot be answered from outside.")
    if not path.is_file():
        raise UsageError("usage.file_missing", f"There is no ledger at {path}.")


def _fields(request: ApprovalRequest) -> dict[str, object]:
    return {
        "request": request.id,
        "digest": request.digest,
        "requester": request.requester,
        "agent": request.agent,
        "purpose": request.purpose,
        "sql": request.sql,
        "summary": request.summary,
        "groups": list(request.terms.groups),
        "reason_required": request.terms.reason_required,
        "created_at": request.created_at,
        "expires_at": request.expires_at,
    }
