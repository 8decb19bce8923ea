"""`guardrails ledger archive|cosign|erase|migrate|recover`: what the keepers of a ledger do now and then.

Exit status: 0 done, 1 refused or tampered, 2 usage.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from guardrails.cli.ledger_options import json_option, ledger_option, opened_for_writing, reports_errors, signer_options
from guardrails.ledger.administration import archive as archive_entries
from guardrails.ledger.administration import cosign as cosign_checkpoint
from guardrails.ledger.location import Location
from guardrails.ledger.migrations import migrate as migrate_ledger
from guardrails.ledger.publishing.places import open_target
from guardrails.ledger.report import read_small_file
from guardrails.ledger.witnessing.quorum import parse_policy

__all__ = ["archive", "cosign", "erase", "migrate", "recover"]


@click.command()
@click.argument("target", metavar="FOLDER_OR_URL")
@click.option(
    "--before", type=click.IntRange(min=0), required=True, help="Entry to stop before; rounded down to a multiple of 256."
)
@click.option("--name", default="", help="What the ledger calls the archive.")
@ledger_option
@signer_options
@json_option
@reports_errors
def archive(
    target: str, before: int, name: str, url: str, signer: str | None, previous: tuple[str, ...], as_json: bool
) -> None:
    """Move the entries before an index to an archive; their hashes stay, and with them every proof."""
    place = open_target(target)
    with (
        opened_for_writing(url, signer, previous) as log,
        Progress(console=Console(stderr=True), transient=True, disable=as_json or not sys.stderr.isatty()) as progress,
    ):
        task = progress.add_task("Archiving", total=None)
        moved = archive_entries(
            log, place, before, name=name, progress=lambda done, total: progress.update(task, completed=done, total=total)
        )
        archived = log.archived
    _print({"moved": moved, "archived": archived}, f"{moved} entries moved; those before {archived} are in archives", as_json)


@click.command()
@click.option("--witnesses", required=True, metavar="FILE", help="A C2SP tlog-policy: whom to ask, and how many are enough.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=10, show_default=True, help="Seconds in all.")
@ledger_option
@signer_options
@json_option
@reports_errors
def cosign(witnesses: str, timeout_s: float, url: str, signer: str | None, previous: tuple[str, ...], as_json: bool) -> None:
    """Have witnesses cosign the latest checkpoint; with enough of them it counts as published."""
    policy = parse_policy(read_small_file(Path(witnesses)))
    with opened_for_writing(url, signer, previous) as log:
        note = cosign_checkpoint(log, policy, timeout_s=timeout_s)
    _print({"checkpoint": note}, note.removesuffix("\n"), as_json)


@click.command()
@click.option("--subject", required=True, help="The person, named as in the values that were recorded about them.")
@click.option("--by", default="", help="Who erases.")
@click.option("--reason", default="", help="Why.")
@ledger_option
@signer_options
@json_option
@reports_errors
def erase(subject: str, by: str, reason: str, url: str, signer: str | None, previous: tuple[str, ...], as_json: bool) -> None:
    """Destroy salts, values and row images of one person. The tree still verifies; the erasure is an entry."""
    with opened_for_writing(url, signer, previous) as log:
        count = log.erase_subject(subject, by=by, reason=reason)
    _print({"erased": count}, f"{count} values erased; recorded", as_json)


@click.command()
@click.option("--force", is_flag=True, help="Give up all open intents, also of processes that may still run.")
@ledger_option
@signer_options
@json_option
@reports_errors
def recover(force: bool, url: str, signer: str | None, previous: tuple[str, ...], as_json: bool) -> None:
    """Record an unknown outcome for each intent whose process ended without one."""
    with opened_for_writing(url, signer, previous) as log:
        indexes = [appended.index for appended in log.recover(force=force)]
    _print({"unknown": indexes}, f"{len(indexes)} outcomes recorded as unknown", as_json)


@click.command()
@ledger_option
@json_option
@reports_errors
def migrate(url: str, as_json: bool) -> None:
    """Bring a ledger's tables up to this version's format. Keep a copy until it verifies."""
    migrate_ledger(url)
    _print({"migrated": True}, f"{Location.parse(url).path or 'the ledger'} is of this version's format", as_json)


def _print(facts: dict[str, object], text: str, as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else text)
