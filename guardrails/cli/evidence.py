"""`guardrails ledger export|verify-bundle`: evidence for an auditor, and the check that the auditor's single file makes.

Exit status: 0 done or verified, 1 tampered or incomplete, 2 usage.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from guardrails.cli.ledger_options import json_option, ledger_option, reports_errors
from guardrails.ledger import Ledger
from guardrails.ledger.evidence import export_evidence
from guardrails.ledger.evidence.verifier import main as verify_main
from guardrails.ledger.publishing.places import open_reader
from guardrails.policy import Policy

__all__ = ["export", "verify_bundle"]


@click.command()
@click.argument("directory", type=click.Path())
@ledger_option
@click.option("--from", "from_time", metavar="TIME", help="Entries at or after this time: a date (UTC), or RFC 3339.")
@click.option("--to", "to_time", metavar="TIME", help="Entries before this time.")
@click.option("--start", type=click.IntRange(min=0), help="First entry; by default the beginning, or the first cited one.")
@click.option(
    "--end", type=click.IntRange(min=0), help="Entry to stop before; by default the end, or after the last cited one."
)
@click.option("--cite", "cited", type=click.IntRange(min=0), multiple=True, help="Prove this entry for itself; by default all.")
@click.option("--since", type=click.Path(dir_okay=False), help="The auditor's last checkpoint, to be proven to be contained.")
@click.option("--checkpoint", type=click.Path(dir_okay=False), help="A checkpoint with cosignatures to prove everything to.")
@click.option("--archive", "archive_place", metavar="FOLDER_OR_URL", help="Where old entries were moved to.")
@click.option(
    "--policy", "policies", type=click.Path(dir_okay=False), multiple=True, help="Add this policy where entries name it."
)
@json_option
@reports_errors
def export(
    directory: str,
    url: str,
    from_time: str | None,
    to_time: str | None,
    start: int | None,
    end: int | None,
    cited: tuple[int, ...],
    since: str | None,
    checkpoint: str | None,
    archive_place: str | None,
    policies: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the evidence for a range of entries, with a verifier, into the new folder DIRECTORY."""
    with Ledger.open(url, read_only=True) as log, _bar(as_json) as progress:
        task = progress.add_task("Exporting", total=None)
        done = export_evidence(
            log,
            directory,
            start=start,
            end=end,
            from_time=from_time,
            to_time=to_time,
            cited=cited or None,
            since=None if since is None else Path(since),
            checkpoint=None if checkpoint is None else Path(checkpoint),
            archive=None if archive_place is None else open_reader(archive_place),
            policies=[Policy.load(path) for path in policies],
            progress=lambda step, total: progress.update(task, completed=step, total=total),
        )
    if as_json:
        shown = {
            "directory": str(done.directory),
            "start": done.start,
            "end": done.end,
            "cited": done.cited,
            "context": done.context,
            "size": done.checkpoint.size,
            "policies_missing": list(done.missing_policies),
            "manifest_sha256": done.digest,
        }
        click.echo(json.dumps(shown))
        return
    click.echo(f"{done.end - done.start} entries, from {done.start} to {done.end}, {done.cited} cited, in {done.directory}")
    click.echo(f"manifest: sha256 {done.digest}")
    for digest in done.missing_policies:
        click.echo(f"note: the text of policy {digest} is not in the bundle; add it with --policy FILE", err=True)


@click.command("verify-bundle")
@click.argument("directory", type=click.Path())
@click.option("--key", "keys", multiple=True, metavar="TEXT_OR_FILE", help="The log's verifier key, known from elsewhere.")
@click.option("--since", metavar="FILE", help="The last checkpoint of this log that you kept.")
@click.option("--witness", "witnesses", multiple=True, metavar="TEXT_OR_FILE", help="A witness's verifier key.")
@click.option("--quorum", type=int, default=0, help="How many of the witnesses must have cosigned; by default all.")
@json_option
def verify_bundle(
    directory: str, keys: tuple[str, ...], since: str | None, witnesses: tuple[str, ...], quorum: int, as_json: bool
) -> None:
    """Verify the evidence in DIRECTORY exactly as the bundle's own verify.py does."""
    arguments = [f"--key={key}" for key in keys] + [f"--witness={key}" for key in witnesses]
    arguments += [] if since is None else [f"--since={since}"]
    arguments += [f"--quorum={quorum}"]
    arguments += ["--json"] if as_json else []
    sys.exit(verify_main([*arguments, "--", directory]))


def _bar(as_json: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=as_json or not sys.stderr.isatty(),
    )
