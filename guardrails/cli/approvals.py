"""`guardrails approvals`: list what waits for people, answer it as somebody else, end grants, close reviews, forget.

Exit status: 0 done, 1 the answer was not accepted, 2 usage. Whoever answers shows a token, or is named on the command line and recorded
as unverified; the ledger gets every answer before it counts.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import click

from guardrails.approval import ApprovalDesk, ApprovalStore
from guardrails.approval.channel import printable
from guardrails.approval.status import STATES, State
from guardrails.cli.approvals_shown import (
    print_requests,
    print_reviews,
    print_status,
    print_windows,
    review_fields,
    status_fields,
)
from guardrails.cli.identity_options import TokenOptions, identity_options, person_from
from guardrails.cli.ledger_options import json_option, ledger_option, opened_for_writing, signer_options
from guardrails.errors import Denied, GuardrailsError, IdentityError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.location import Location
from guardrails.model import Principal

__all__ = ["approvals"]

P = ParamSpec("P")
C = TypeVar("C", bound=Callable[..., Any])

_REFUSED_STATUS = 1
_USAGE_STATUS = 2


@click.group()
def approvals() -> None:
    """List, approve and deny what waits for people; grants and reviews."""


_ANSWERING = (
    click.option("--by", "approver", default="", metavar="ID", help="Who answers, recorded as unverified."),
    click.option("--group", "groups", multiple=True, metavar="G", help="A group of who answers; may be repeated."),
    identity_options,
    signer_options,
    ledger_option,
    json_option,
)
_reason_option = click.option("--reason", default="", help="Why.")
_limit_option = click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Show so many at most.")
_state_option = click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Only these states; by default what waits. May be repeated.",
)


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


def _answers(command: C) -> C:
    """Adds what every command has by which somebody answers."""
    decorated: Any = _reports_errors(command)
    for option in reversed(_ANSWERING):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


@approvals.command("list")
@_state_option
@_limit_option
@ledger_option
@json_option
@_reports_errors
def list_requests(url: str, states: tuple[State, ...], limit: int, as_json: bool) -> None:
    """Print the requests that wait for an answer; newest first, as are those of other states."""
    now = _now()
    with _store(url) as store:
        found = store.page(now=now, states=states or ("pending",), limit=limit)
    if as_json:
        _print_json([status_fields(status) for status in found])
    elif found:
        print_requests(found, now)
    else:
        click.echo("Nothing waits for an answer." if not states else "There is none.")


@approvals.command()
@click.argument("request_id", metavar="REQUEST")
@ledger_option
@json_option
@_reports_errors
def show(request_id: str, url: str, as_json: bool) -> None:
    """Print all of REQUEST: the statement, what it was understood to do, what it would change, and the answers."""
    with _store(url) as store:
        status = store.status(request_id, now=_now())
    if as_json:
        _print_json([status_fields(status, is_whole=True)])
    else:
        print_status(status)


@approvals.command()
@click.argument("request_id", metavar="REQUEST")
@_reason_option
@_answers
def approve(request_id: str, reason: str, as_json: bool, **who: Any) -> None:
    """Say yes to REQUEST."""
    with _desk(who) as (desk, by):
        status = desk.approve(request_id, by, reason, _now())
    missing = f"; {status.missing} more to say yes" if status.missing else ""
    _tell(as_json, {**status_fields(status), "answer": "approved", "approver": by.id}, f"{request_id} {status.state}{missing}")


@approvals.command()
@click.argument("request_id", metavar="REQUEST")
@_reason_option
@_answers
def deny(request_id: str, reason: str, as_json: bool, **who: Any) -> None:
    """Say no to REQUEST."""
    with _desk(who) as (desk, by):
        status = desk.deny(request_id, by, reason, _now())
    _tell(as_json, {**status_fields(status), "answer": "denied", "approver": by.id}, f"{request_id} {status.state}")


@approvals.command()
@ledger_option
@json_option
@_reports_errors
def grants(url: str, as_json: bool) -> None:
    """Print the grants ahead that are open, those that end first at the front."""
    now = _now()
    with _store(url) as store:
        found = store.open_windows(now=now)
    if as_json:
        _print_json([status_fields(status) for status in found])
    elif found:
        print_windows(found, now)
    else:
        click.echo("No grant is open.")


@approvals.command("end-grant")
@click.argument("request_id", metavar="REQUEST")
@_answers
def end_grant(request_id: str, as_json: bool, **who: Any) -> None:
    """End the grant of REQUEST before its time; its requester may, too."""
    with _desk(who) as (desk, by):
        status = desk.end_window(request_id, by, _now())
    _tell(as_json, status_fields(status) | {"by": by.id}, f"{request_id} {status.state}")


@approvals.command()
@click.option("--closed", "is_closed", is_flag=True, help="Those that are closed, newest first.")
@click.option(
    "--check", "is_checked", is_flag=True, help="Read the whole ledger for reviews that were taken out of the approvals."
)
@_limit_option
@ledger_option
@json_option
@_reports_errors
def reviews(url: str, is_closed: bool, is_checked: bool, limit: int, as_json: bool) -> None:
    """Print the reviews of what ran without approval, those due first at the front."""
    now = _now()
    with _store(url) as store:
        found = store.reviews(now=now, is_open=not is_closed, limit=limit)
        if is_checked:
            _require_no_lost_review(url, store, now)
    if as_json:
        _print_json([review_fields(review, now) for review in found])
    elif found:
        print_reviews(found, now)
    else:
        click.echo("There is none." if is_closed else "No review is open.")


@approvals.command("close-review")
@click.argument("review_id", metavar="REVIEW")
@click.option("--comment", default="", help="What you found.")
@_answers
def close_review(review_id: str, comment: str, as_json: bool, **who: Any) -> None:
    """Close REVIEW, having looked at what ran."""
    with _desk(who) as (desk, by):
        review = desk.close_review(review_id, by, comment, _now())
    _tell(as_json, review_fields(review, _now()), f"{review_id} closed")


@approvals.command()
@click.option("--older-than", "days", type=click.IntRange(0), required=True, metavar="DAYS", help="What ended so long ago.")
@signer_options
@ledger_option
@json_option
@_reports_errors
def forget(url: str, signer: str | None, previous: tuple[str, ...], days: int, as_json: bool) -> None:
    """Delete requests that are decided, used or over, and closed reviews: their statements hold values. The ledger keeps what it has."""
    now = _now()
    with _store(url) as store, opened_for_writing(url, signer, previous) as ledger:
        count = ApprovalDesk(store, ledger).forget(now - 86_400 * days, now)
    _tell(as_json, {"forgotten": count}, f"{count} forgotten")


@contextmanager
def _store(url: str) -> Iterator[ApprovalStore]:
    """Opens the approvals of a ledger that exists."""
    if Location.parse(url).is_memory:
        raise UsageError("usage.database_unsupported", "Approvals in memory cannot be answered from outside.")
    Ledger.open(url, read_only=True).close()
    with ApprovalStore.open(url) as store:
        yield store


@contextmanager
def _desk(who: dict[str, Any]) -> Iterator[tuple[ApprovalDesk, Principal]]:
    """Opens ledger and approvals for somebody who answers, who is asked for first."""
    identity: TokenOptions = who["identity"]
    by = person_from(identity, who["approver"], who["groups"])
    with _store(who["url"]) as store, opened_for_writing(who["url"], who["signer"], who["previous"]) as ledger:
        yield ApprovalDesk(store, ledger), by


def _require_no_lost_review(url: str, store: ApprovalStore, now: int) -> None:
    with Ledger.open(url, read_only=True) as ledger:
        lost = ApprovalDesk(store, ledger).lost_reviews(now)
    if lost:
        raise Denied("approval.forged", f"The ledger has open reviews that the approvals have not: {', '.join(lost)}.")


def _tell(as_json: bool, fields: dict[str, object], line: str) -> None:
    click.echo(json.dumps(fields) if as_json else printable(line))


def _print_json(lines: list[dict[str, object]]) -> None:
    for line in lines:
        click.echo(json.dumps(line))


def _now() -> int:
    return int(time.time())
