"""`guardrails reveal`: the value behind a token, for a person whom the policy lets; recorded before and after.

Who asks is what an identity token says, or else taken from the command line and so recorded as unverified. Exit status: 0 revealed,
1 refused, failed or waiting for approval, 2 usage, policy, schema or ledger error.
"""

from __future__ import annotations

import json
import sys

import click

from guardrails.approval.channel import printable
from guardrails.cli.identity_options import TokenOptions, asking_principal, identity_options
from guardrails.errors import ApprovalRequired, Denied, EngineError
from guardrails.guard import Guard

__all__ = ["reveal"]


@click.command()
@click.argument("token")
@click.option("--policy", "policy_path", required=True, metavar="FILE", help="The policy file.")
@click.option("--database", "database_url", required=True, metavar="URL", help="sqlite:///shop.db or postgresql://…")
@click.option("--ledger", "ledger_url", required=True, metavar="URL", help="sqlite:///audit.db, beside which the mask key is.")
@click.option("--column", required=True, metavar="RELATION.COLUMN", help="The protected column of which it is a token.")
@click.option("--reason", required=True, help="Why; the ledger commits to it.")
@click.option("--principal", "principal_id", metavar="ID", help="Who asks; recorded as unverified.")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group of the principal; may be repeated.")
@click.option("--principal-json", metavar="JSON", help='The principal as {"id", "groups", "attributes"}.')
@click.option("--purpose", metavar="NAME", help="The declared purpose.")
@click.option("--json", "is_json", is_flag=True, help="Write JSON.")
@identity_options
def reveal(
    token: str,
    policy_path: str,
    database_url: str,
    ledger_url: str,
    column: str,
    reason: str,
    principal_id: str | None,
    groups: tuple[str, ...],
    principal_json: str | None,
    purpose: str | None,
    is_json: bool,
    identity: TokenOptions,
) -> None:
    """Resolve a token for a person whom the policy lets."""
    principal = asking_principal(identity, principal_id, groups, principal_json)
    with (
        Guard.open(policy_path, database=database_url, ledger=ledger_url) as guard,
        guard.session(principal=principal, purpose=purpose),
    ):
        try:
            value = guard.reveal(token, column=column, reason=reason)
        except (Denied, ApprovalRequired, EngineError) as error:
            click.echo(f"error: {printable(str(error))}", err=True)
            sys.exit(1)
    plain = value.hex() if isinstance(value, bytes) else value
    click.echo(json.dumps({"column": column, "value": plain}, default=str) if is_json else printable(str(plain)))
