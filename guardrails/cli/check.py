"""`guardrails check`: decides about statements and writes one JSON object a line; runs nothing and records nothing.

Exit status: 0 all allowed, 1 something refused or waiting for approval, 2 usage, policy or schema error.
"""

from __future__ import annotations

import json
import sys

import click

from guardrails import flow
from guardrails.as_json import decision_fields, refusal_fields
from guardrails.cli.catalogs import catalog_from
from guardrails.cli.options import DIALECTS, asking_options, principal_from
from guardrails.cli.statements import asked_statements
from guardrails.errors import UsageError
from guardrails.masking import MaskKeyring, mask_expression
from guardrails.model import Context, Statement
from guardrails.policy import Policy

__all__ = ["check"]


@click.command()
@asking_options
@click.option("--dialect", metavar="NAME", help=f"One of {DIALECTS}; needed with --schema.")
@click.option("--schema", "schema_path", metavar="FILE", help="The tables and views as DDL.")
@click.option("--database", "database_url", metavar="URL", help="Read the tables and views from this database.")
def check(
    statements: tuple[str, ...],
    policy_path: str,
    is_jsonl: bool,
    principal_id: str | None,
    groups: tuple[str, ...],
    principal_json: str | None,
    purpose: str | None,
    agent: str | None,
    is_json: bool,  # noqa: ARG001  accepted as everywhere; the output is JSON anyway
    dialect: str | None,
    schema_path: str | None,
    database_url: str | None,
) -> None:
    """Decide about statements; run nothing, record nothing."""
    principal = principal_from(principal_id, groups, principal_json)
    catalog = catalog_from(dialect, schema_path, database_url)
    if catalog is None:
        raise UsageError("usage.no_schema", "Neither --schema nor --database was given.")
    policy = Policy.load(policy_path).bind(catalog)
    policy.require_purpose(purpose)
    context = Context(agent=agent, purpose=purpose)
    # What a mask's key gives is a bound value and never part of the text, so any key gives the same answer.
    key = MaskKeyring.generate().key
    is_all_allowed = True
    for asked in asked_statements(statements, is_jsonl=is_jsonl):
        if asked.problem:
            fields = refusal_fields(asked.id, asked.problem)
        else:
            statement = Statement(asked.sql, asked.params, catalog.dialect)
            judgement = flow.judge(
                statement, catalog, policy, principal, context, lambda m, c: mask_expression(m, c, catalog.dialect, key)
            )
            fields = decision_fields(asked.id, judgement.decision)
        is_all_allowed &= fields["effect"] == "allow"
        click.echo(json.dumps(fields))
    sys.exit(0 if is_all_allowed else 1)
