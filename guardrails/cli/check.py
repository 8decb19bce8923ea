"""`guardrails check`: decides about statements and writes one JSON object a line; runs nothing and records nothing.

Exit status: 0 all allowed, 1 something refused or waiting for approval, 2 usage, policy or schema error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from guardrails import flow
from guardrails.as_json import decision_fields, refusal_fields
from guardrails.catalog import from_ddl
from guardrails.cli.options import asking_options, dialect_name, principal_from
from guardrails.cli.statements import asked_statements
from guardrails.errors import UsageError
from guardrails.masking import MaskKeyring, mask_expression
from guardrails.model import Catalog, Context, Statement
from guardrails.policy import Policy

__all__ = ["check"]

_MAX_SCHEMA_BYTES = 10_000_000


@click.command()
@asking_options
@click.option("--dialect", metavar="NAME", help="sqlite or postgres; needed with --schema.")
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
    catalog = _catalog(dialect, schema_path, database_url)
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


def _catalog(dialect: str | None, schema_path: str | None, database_url: str | None) -> Catalog:
    """Reads the tables and views from the one place that was named."""
    wanted = dialect_name(dialect) if dialect is not None else None
    if schema_path is not None and database_url is not None:
        raise UsageError("usage.input_invalid", "Give --schema or --database, not both.")
    if schema_path is not None:
        if wanted is None:
            raise UsageError("usage.input_invalid", "--schema needs --dialect.", hint="Use --dialect sqlite or postgres.")
        return from_ddl(_schema_text(schema_path), wanted)
    if database_url is None:
        raise UsageError("usage.no_schema", "Neither --schema nor --database was given.")
    # Only a live database needs its driver: judging against DDL starts without.
    from guardrails.engines import open_engine

    engine = open_engine(database_url)
    try:
        if wanted not in (None, engine.dialect):
            raise UsageError("usage.input_invalid", f"The database speaks {engine.dialect}, --dialect says {wanted}.")
        return engine.catalog()
    finally:
        engine.dispose()


def _schema_text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_SCHEMA_BYTES + 1)
        if len(data) > _MAX_SCHEMA_BYTES:
            raise UsageError("usage.input_invalid", f"The schema is larger than {_MAX_SCHEMA_BYTES} bytes.")
        return data.decode()
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise UsageError("usage.input_invalid", "The schema is not valid UTF-8.") from error
        raise UsageError("usage.file_missing", f"The schema {path} does not exist or cannot be read.") from error
