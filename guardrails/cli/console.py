"""`guardrails console`: serve the console for one ledger, and print a one-time link to sign in with where no provider is named.

It runs until it is interrupted. Exit status: 0 ended, 2 usage, policy, schema or ledger error.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import click

from guardrails.approval import ApprovalDesk, ApprovalStore
from guardrails.errors import UsageError
from guardrails.guard import Guard
from guardrails.ledger import Ledger
from guardrails.ledger.location import Location
from guardrails.model import Principal
from guardrails.policy import Policy

__all__ = ["console"]

SECRET_OPTION_VARIABLE = "GUARDRAILS_CONSOLE_CLIENT_SECRET"  # noqa: S105  a name
_LOOPBACK = "127.0.0.1"


@click.command()
@click.option("--ledger", "ledger_url", required=True, metavar="URL_OR_PATH", help="sqlite:///path, a path, or postgresql://…")
@click.option("--policy", "policy_path", metavar="FILE", help="The policy file; shows it, and with --database previews too.")
@click.option("--database", "database_url", metavar="URL", help="The guarded database, for previews with the viewer's rights.")
@click.option("--state", metavar="PATH", help="Beside which mask keys lie, where the ledger is in a server.")
@click.option("--host", default=_LOOPBACK, show_default=True, help="Address to listen on.")
@click.option("--port", default=8600, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on; 0: any.")
@click.option(
    "--base-url", metavar="URL", help="Where people reach it, such as https://console.example.com; by default host and port."
)
@click.option(
    "--trusted-proxy", "proxies", multiple=True, metavar="ADDRESS", help="A proxy whose X-Forwarded-For tells who calls."
)
@click.option("--title", default="guardrails", show_default=True, help="Shown at the top of every page.")
@click.option("--oidc-issuer", metavar="URL", help="OpenID provider at which people sign in.")
@click.option("--oidc-client-id", metavar="ID", help=f"This console's client there; its secret is in {SECRET_OPTION_VARIABLE}.")
@click.option("--oidc-name", metavar="TEXT", help="What the sign-in page calls the provider; its host by default.")
@click.option("--groups-claim", default="groups", show_default=True, metavar="CLAIM", help="Claim with the groups.")
@click.option("--subject-claim", default="sub", show_default=True, metavar="CLAIM", help="Claim with the id.")
@click.option(
    "--api-audience", metavar="AUDIENCE", help="Audience of the tokens of programs that use the API; none may by default."
)
@click.option(
    "--viewer-group", "viewers", multiple=True, metavar="G", help="Who may look; everybody who can sign in by default."
)
@click.option(
    "--approver-group", "approvers", multiple=True, metavar="G", help="Who may answer, of those whom a request's terms name."
)
@click.option(
    "--auditor-group", "auditors", multiple=True, metavar="G", help="Who may see kept values of others; nobody by default."
)
@click.option("--as", "person", metavar="ID", help="Whom the one-time link is for; the system's user by default.")
@click.option("--group", "groups", multiple=True, metavar="G", help="A group of the person with the link; may be repeated.")
@click.option(
    "--link/--no-link", "has_link", default=None, help="Print a one-time link; by default where no provider is named."
)
@click.option("--json", "as_json", is_flag=True, help="Write address and link as one line of JSON.")
def console(
    ledger_url: str,
    policy_path: str | None,
    database_url: str | None,
    state: str | None,
    host: str,
    port: int,
    base_url: str | None,
    proxies: tuple[str, ...],
    title: str,
    oidc_issuer: str | None,
    oidc_client_id: str | None,
    oidc_name: str | None,
    groups_claim: str,
    subject_claim: str,
    api_audience: str | None,
    viewers: tuple[str, ...],
    approvers: tuple[str, ...],
    auditors: tuple[str, ...],
    person: str | None,
    groups: tuple[str, ...],
    has_link: bool | None,
    as_json: bool,
) -> None:
    """Serve the web console of a ledger: approvals, what agents do, what they did."""
    _require_extra()
    from guardrails.console import Console, ConsoleSettings
    from guardrails.console.pages.signing_in import one_time_link
    from guardrails.console.projection import Projection
    from guardrails.console.serving import ConsoleServer, listening
    from guardrails.console.signins import SignIns
    from guardrails.console.tickets import Tickets

    with ExitStack() as stack:
        socket = stack.enter_context(listening(host, port))
        address = base_url or f"http://{_bracketed(host)}:{socket.getsockname()[1]}"
        settings = ConsoleSettings(
            address,
            title,
            viewer_groups=frozenset(viewers),
            approver_groups=frozenset(approvers),
            auditor_groups=frozenset(auditors),
        )
        provider = _provider(settings.base_url, oidc_issuer, oidc_client_id, groups_claim, subject_claim)
        ledger, desk, guard, policy = stack.enter_context(_opened(ledger_url, policy_path, database_url, state))
        tickets = Tickets.open(ledger_url)
        stack.callback(tickets.close)
        projection = Projection.open(ledger, ledger_url)
        stack.callback(projection.close)
        projection.follow()
        sign_ins = SignIns(provider, oidc_name or urlsplit(oidc_issuer or "").netloc or "your identity provider")
        tokens = _token_verifier(oidc_issuer, api_audience, groups_claim, subject_claim)
        opened = Console(settings, desk, ledger, tickets, sign_ins, guard, policy, projection, tokens=tokens)
        who = Principal(person or getpass.getuser(), frozenset(groups))
        make_link = (lambda: one_time_link(opened, who)) if (has_link if has_link is not None else provider is None) else None
        _announce(settings.base_url, make_link, who, settings.link_s, as_json=as_json)
        ConsoleServer(opened, proxies).run(sockets=[socket])


@contextmanager
def _opened(
    ledger_url: str, policy_path: str | None, database_url: str | None, state: str | None
) -> Iterator[tuple[Ledger, ApprovalDesk, Guard | None, Policy | None]]:
    """Opens what the console shows: with a policy and a database a guard, else the ledger and its approvals alone."""
    if database_url is not None:
        if policy_path is None:
            raise UsageError("usage.input_invalid", "--database needs --policy: previews are judged by it.")
        with Guard.open(policy_path, database=database_url, ledger=ledger_url, state=state) as guard:
            yield guard.ledger, guard.desk, guard, guard.policy
        return
    path = Location.parse(ledger_url).path
    if path is not None and not path.is_file():
        raise UsageError("usage.file_missing", f"There is no ledger at {path}.")
    policy = Policy.load(policy_path) if policy_path is not None else None
    with Ledger.open(ledger_url) as ledger, ApprovalStore.of(ledger) as store:
        yield ledger, ApprovalDesk(store, ledger), None, policy


def _provider(base_url: str, issuer: str | None, client_id: str | None, groups_claim: str, subject_claim: str) -> Any:
    if issuer is None and client_id is None:
        return None
    if issuer is None or client_id is None:
        raise UsageError("usage.input_invalid", "Give --oidc-issuer and --oidc-client-id together.")
    from guardrails.identity import OidcSignIn

    return OidcSignIn(
        issuer,
        client_id,
        os.environ.get(SECRET_OPTION_VARIABLE),
        redirect_uri=f"{base_url}/signin/callback",
        groups_claim=groups_claim,
        subject_claim=subject_claim,
    )


def _token_verifier(issuer: str | None, audience: str | None, groups_claim: str, subject_claim: str) -> Any:
    if audience is None:
        return None
    if issuer is None:
        raise UsageError("usage.input_invalid", "--api-audience needs --oidc-issuer, who gives the tokens.")
    from guardrails.identity import JwtVerifier

    return JwtVerifier.discover(issuer, audience, kind="access", groups_claim=groups_claim, subject_claim=subject_claim)


def _announce(address: str, make_link: Callable[[], str] | None, who: Principal, link_s: int, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"url": address, "link": make_link() if make_link else None}))
        return
    click.echo(f"The console is at {address} (Ctrl-C ends it).")
    if make_link is None:
        return
    for_whom = f"for {who.id}" + (f" in {', '.join(sorted(who.groups))}" if who.groups else " in no group")
    click.echo(f"Sign in {for_whom}, once, within {link_s // 60} minutes:\n  {make_link()}")
    if sys.stdin.isatty():
        click.echo("Press Enter for another link.")
        threading.Thread(target=_more_links, args=(make_link,), daemon=True).start()


def _more_links(make_link: Callable[[], str]) -> None:
    for _ in sys.stdin:
        click.echo(f"  {make_link()}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _require_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("starlette", "jinja2", "uvicorn", "multipart") if find_spec(name) is None]
    if missing:
        raise UsageError(
            "usage.extra_missing", f"The console needs {', '.join(missing)}.", hint="Install guardrails-sql[console]."
        )
