"""`guardrails policy install`: sets up in the database what it can hold of a policy, and verifies it.

Exit status: 0 the database is as the policy wants it, 1 some row filter stays with the fence in the statements, 2 usage, policy or
database error. With `--dry-run` nothing is changed; with `--uninstall` what was set up is removed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from guardrails.errors import UsageError

if TYPE_CHECKING:
    from guardrails.install import Installed

__all__ = ["install"]

_FENCED_STATUS = 1


@click.command()
@click.option("--policy", "policy_path", required=True, metavar="FILE", help="The policy file.")
@click.option("--database", "database_url", required=True, metavar="URL", help="The database, as a role that may create views.")
@click.option(
    "--ledger", metavar="URL_OR_PATH", help="The guard's ledger, beside which its mask key is; or GUARDRAILS_MASK_KEY."
)
@click.option("--grant", "grantees", multiple=True, metavar="ROLE", help="A role that the guard runs as; may be repeated.")
@click.option("--with-keys", "has_keys", is_flag=True, help="Keyed masks too: the key stands in the system catalog then.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what stands there and what would be made; change nothing.")
@click.option("--uninstall", "is_removal", is_flag=True, help="Remove what was set up.")
@click.option("--json", "is_json", is_flag=True, help="Write JSON, one object a line.")
def install(
    policy_path: str,
    database_url: str,
    ledger: str | None,
    grantees: tuple[str, ...],
    has_keys: bool,
    is_dry: bool,
    is_removal: bool,
    is_json: bool,
) -> None:
    """Set up in the database what it can hold of a policy, and verify it."""
    # Here and not above: neither parser nor driver is loaded before it is needed.
    from guardrails.engines import open_engine
    from guardrails.install.opening import installer
    from guardrails.policy import Policy

    if is_dry and is_removal:
        raise UsageError("usage.input_invalid", "Give --dry-run or --uninstall, not both.")
    policy, key = Policy.load(policy_path), _mask_key(ledger)
    engine = open_engine(database_url)
    try:
        one = installer(engine, policy.bind(engine.catalog()), key, grantees, has_keys=has_keys)
        found = one.look() if is_dry else one.uninstall() if is_removal else one.install()
    finally:
        engine.dispose()
    _report(found, is_json=is_json)
    sys.exit(0 if all(item.is_held for item in found) else _FENCED_STATUS)


def _mask_key(ledger: str | None) -> bytes:
    """The key with which the guard will verify: that of its masks.

    Raises:
        UsageError: Neither the ledger nor the variable says which.
    """
    from guardrails.masking.keys import KEY_VARIABLE, open_keyring

    if ledger is None and KEY_VARIABLE not in os.environ:
        raise UsageError("usage.input_invalid", f"The guard's mask key is needed: give --ledger, or set {KEY_VARIABLE}.")
    return open_keyring(ledger or "").key


def _report(found: Sequence[Installed], *, is_json: bool) -> None:
    if is_json:
        for item in found:
            click.echo(json.dumps(item.fields()))
        return
    if not found:
        click.echo("Nothing to set up: the policy has no row filter for a table, and no mask with `place: column`.")
    for item in found:
        named = f" ({item.name})" if item.name else ""
        lines = [f"{item.relation}: {item.state}{named}", item.reason, item.sql]
        click.echo("\n    ".join("".join(c if c.isprintable() else " " for c in line) for line in lines if line))
