"""`guardrails policy`: validate a policy file, print the JSON Schema of its form, and prove on twin databases that it holds.

Exit status of `validate`: 0 valid, 2 invalid. Each mistake goes to standard error as `file:line:column: [code] message`, with the line
of the file and a caret below it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from guardrails.cli.catalogs import catalog_from
from guardrails.cli.install import install
from guardrails.cli.options import DIALECTS
from guardrails.cli.prove import prove
from guardrails.codes import CODES
from guardrails.errors import PolicyError, UsageError

if TYPE_CHECKING:
    from guardrails.model import Catalog
    from guardrails.policy import Policy

__all__ = ["policy"]

_INVALID_STATUS = 2
_MAX_LINE = 200


@click.group()
def policy() -> None:
    """Validate policy files, set up in a database what it can hold of one, and prove that they hold."""


policy.add_command(install)
policy.add_command(prove)


@policy.command()
@click.argument("path", metavar="POLICY")
@click.option("--schema", "schema_path", metavar="FILE", help="Hold the policy against these tables and views (DDL).")
@click.option("--dialect", metavar="NAME", help=f"One of {DIALECTS}; needed with --schema.")
@click.option("--database", "database_url", metavar="URL", help="Hold the policy against this database.")
@click.option("--json", "is_json", is_flag=True, help="Write the result as JSON.")
def validate(path: str, schema_path: str | None, dialect: str | None, database_url: str | None, is_json: bool) -> None:
    """Check a policy file; with a schema also its names, masks and row filters."""
    from guardrails.policy import Policy, read_policy_text

    if dialect is not None and schema_path is None and database_url is None:
        raise UsageError("usage.input_invalid", "--dialect needs --schema.")
    catalog = catalog_from(dialect, schema_path, database_url)
    text = ""
    try:
        text = read_policy_text(path)
        loaded = Policy.from_text(text, source=path)
        if catalog is not None:
            loaded.bind(catalog)
    except PolicyError as error:
        problems = _problems(error)
        if is_json:
            click.echo(json.dumps({"valid": False, "source": path, "problems": problems}))
        for problem in problems:
            _show(problem, path, text.splitlines())
        sys.exit(_INVALID_STATUS)
    _report(loaded, catalog, is_json=is_json)


@policy.command()
@click.option("--json", "is_json", is_flag=True, help="Write JSON; this command always does.")
def schema(is_json: bool) -> None:  # noqa: ARG001  accepted as everywhere
    """Print the JSON Schema of the policy file."""
    from guardrails.policy import policy_schema

    click.echo(json.dumps(policy_schema(), indent=2, sort_keys=True))


def _problems(error: PolicyError) -> list[dict[str, Any]]:
    listed = error.evidence.get("problems")
    if isinstance(listed, list) and listed:
        return listed
    return [{"code": error.code, "message": error.message, "hint": error.hint, "line": error.line, "column": error.column}]


def _show(problem: Mapping[str, Any], path: str, lines: list[str]) -> None:
    line, column = int(problem["line"]), int(problem["column"])
    # The place is shown; a hint to look at it says nothing.
    hint = "" if problem["hint"] == CODES["policy.invalid"].hint else f" {problem['hint']}"
    click.echo(_printable(f"{path}:{line}:{column}: [{problem['code']}] {problem['message']}{hint}"), err=True)
    if 0 < line <= len(lines) and column <= _MAX_LINE:
        shown = lines[line - 1][:_MAX_LINE]
        click.echo(f"    {_printable(shown)}\n    {_printable(' ' * (column - 1))}^", err=True)


def _printable(text: str) -> str:
    # The file's text may hold control sequences; one character stays one column, so that the caret points at its place.
    return "".join(c if c.isprintable() else " " for c in text)


def _report(loaded: Policy, catalog: Catalog | None, *, is_json: bool) -> None:
    file = loaded.file
    counts = {"rules": len(file.rules), "purposes": len(file.purposes), "columns": len(file.columns), "rows": len(file.rows)}
    relations = None if catalog is None else len(catalog.relations)
    if is_json:
        fields = {"valid": True, "source": loaded.source, "digest": loaded.digest, **counts, "relations_checked": relations}
        click.echo(json.dumps(fields))
        return
    held = "not held against a schema" if relations is None else f"held against {relations} relations"
    parts = f"{counts['rules']} rules, {counts['columns']} protected columns, {counts['rows']} row filters"
    click.echo(_printable(f"{loaded.source}: valid ({parts}; {held})") + f"\ndigest {loaded.digest}")
