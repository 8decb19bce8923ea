"""`guardrails policy prove`: shows on twin databases whether anything of what the policy hides from a principal comes through.

Exit status: 0 no difference, 1 a difference, 2 usage, policy or database error, or nothing to prove.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from guardrails.cli.options import principal_from
from guardrails.cli.statements import from_json_lines
from guardrails.errors import UsageError

if TYPE_CHECKING:
    from guardrails.model import Params
    from guardrails.proving.prover import Progress

__all__ = ["prove"]


@click.command()
@click.option("--policy", "policy_path", required=True, metavar="FILE", help="The policy file.")
@click.option(
    "--database", "database_url", required=True, metavar="URL", help="The database whose schema is copied, never its data."
)
@click.option("--principal", "principal_id", metavar="ID", help="Whose view is tried.")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group of the principal; may be repeated.")
@click.option("--principal-json", metavar="JSON", help='The principal as {"id", "groups", "attributes"}.')
@click.option("--purpose", metavar="NAME", help="The declared purpose.")
@click.option("--agent", metavar="NAME", help="The agent's name.")
@click.option("--count", default=500, show_default=True, metavar="N", help="Statements to generate.")
@click.option("--seed", default=1, show_default=True, metavar="S", help="Decides about rows and statements.")
@click.option("--rows", default=40, show_default=True, metavar="N", help="Rows a table.")
@click.option(
    "--statements", "statements_path", metavar="FILE", help='Statements to try as well, {"sql", "params"} one a line.'
)
@click.option("--scratch", "scratch_url", metavar="URL", help="Another server for the twins of PostgreSQL and MySQL.")
@click.option("--json", "is_json", is_flag=True, help="Write the report as JSON.")
def prove(
    policy_path: str,
    database_url: str,
    principal_id: str | None,
    groups: tuple[str, ...],
    principal_json: str | None,
    purpose: str | None,
    agent: str | None,
    count: int,
    seed: int,
    rows: int,
    statements_path: str | None,
    scratch_url: str | None,
    is_json: bool,
) -> None:
    """Show on twin databases that what the policy hides stays hidden."""
    from guardrails.model import Context
    from guardrails.proving import prove as proven

    principal = principal_from(principal_id, groups, principal_json)
    with _progress() as progress:
        report = proven(
            policy_path,
            database_url,
            principal,
            context=Context(agent=agent, purpose=purpose),
            count=count,
            seed=seed,
            rows=rows,
            statements=_recorded(statements_path) if statements_path is not None else (),
            scratch=scratch_url,
            progress=progress,
        )
    if is_json:
        click.echo(json.dumps(report.as_json()))
    else:
        click.echo("\n".join(_printable(line) for line in report.as_text().split("\n")))
    sys.exit(0 if report.is_proven else 1)


def _recorded(path: str) -> Sequence[tuple[str, Params]]:
    """Reads the statements of a file.

    Raises:
        UsageError: It cannot be read (``usage.file_missing``), or a line is no statement.
    """
    found: list[tuple[str, Params]] = []
    try:
        with open(path, "rb") as file:
            for asked in from_json_lines(file):
                if asked.problem is not None:
                    raise UsageError(asked.problem.code, asked.problem.message, hint=asked.problem.hint)
                found.append((asked.sql, asked.params))
    except OSError as error:
        raise UsageError("usage.file_missing", f"The statements {path} do not exist or cannot be read.") from error
    return found


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """A bar on standard error, where somebody watches it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("making twins", total=None)
        yield lambda done, total: bar.update(task, description="comparing", completed=done, total=total)


def _printable(text: str) -> str:
    # Names and answers come from a database; no control sequence of theirs reaches the terminal.
    return "".join(c if c.isprintable() else " " for c in text)
