"""`guardrails ledger`, and of its commands those that only read: verify, show and prove.

Exit status: 0 verified or done, 1 tampered or incomplete, 2 usage. Results go to standard output, errors with their code to
standard error.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from guardrails.cli.lazy import Command, LazyGroup
from guardrails.cli.ledger_options import TAMPERED_STATUS, json_option, ledger_option, reports_errors
from guardrails.errors import LedgerError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.entry import decode
from guardrails.ledger.location import Location
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.note import base64_text, strict_base64
from guardrails.ledger.pin import PinStore
from guardrails.ledger.proof import EntryProof
from guardrails.ledger.report import Report, TrustedKey, read_small_file
from guardrails.ledger.verify import Level
from guardrails.ledger.verify import verify as verify_ledger
from guardrails.ledger.witnessing.quorum import parse_policy

__all__ = ["COMMANDS", "ledger", "prove", "show", "verify"]

_LISTED_INDEXES = 20

COMMANDS = {
    "archive": Command("guardrails.cli.ledger_keep:archive", "Move old entries to an archive; their hashes stay."),
    "cosign": Command("guardrails.cli.ledger_keep:cosign", "Have witnesses cosign the latest checkpoint."),
    "erase": Command("guardrails.cli.ledger_keep:erase", "Destroy what is kept about one person; the tree still verifies."),
    "export": Command("guardrails.cli.evidence:export", "Write the evidence for a range of entries into a new folder."),
    "keys": Command("guardrails.cli.ledger_keys:keys", "Show the log's signing keys, and rotate, retire or revoke them."),
    "migrate": Command("guardrails.cli.ledger_keep:migrate", "Bring a ledger of an earlier format up to this version's."),
    "mirror": Command("guardrails.cli.publish:mirror", "Copy a published log while verifying it."),
    "monitor": Command("guardrails.cli.publish:monitor", "Check that a published log only grew since it was last seen."),
    "prove": Command(
        "guardrails.cli.ledger:prove", "Print the proof (C2SP tlog-proof) that entry INDEX is in the ledger, and verify it."
    ),
    "publish": Command("guardrails.cli.publish:publish", "Publish the ledger as C2SP tiles into a folder or an object store."),
    "recover": Command("guardrails.cli.ledger_keep:recover", "Record intents that crashed processes left without an outcome."),
    "serve": Command("guardrails.cli.publish:serve", "Serve a ledger's tiles read-only over HTTP."),
    "show": Command("guardrails.cli.ledger:show", "Print the latest entries, as a table or as JSON Lines."),
    "verify": Command("guardrails.cli.ledger:verify", "Rebuild the whole ledger and compare it with its signed head."),
    "verify-bundle": Command("guardrails.cli.evidence:verify_bundle", "Verify exported evidence, as its own verify.py does."),
    "witness": Command("guardrails.cli.witness:witness", "Run a witness, which cosigns checkpoints of logs that only grow."),
}
"""Every command of the group, by name."""


@click.group(cls=LazyGroup, lazy=COMMANDS)
def ledger() -> None:
    """Verify, show, prove, publish and keep the signed ledger."""


_key_option = click.option(
    "--key", metavar="TEXT_OR_PATH", help="The verifier key to trust; by default the .pub file beside the ledger."
)


@click.command()
@ledger_option
@_key_option
@click.option("--checkpoint", metavar="FILE", help="An earlier signed checkpoint that the ledger must contain.")
@click.option(
    "--pin", nargs=2, type=(click.IntRange(min=0), str), metavar="SIZE ROOT", help="An earlier size and root (base64)."
)
@click.option(
    "--level",
    type=click.Choice(["hash", "entries", "signatures"]),
    default="signatures",
    show_default=True,
    help="How deep: the tree alone, what entries say too, or everything.",
)
@click.option("--archive", "archive_place", metavar="FOLDER_OR_URL", help="Where old entries were moved to.")
@click.option("--witnesses", metavar="FILE", help="A C2SP tlog-policy: the published checkpoint must have its quorum.")
@click.option("--pins", metavar="FOLDER", help="Where the last checkpoint seen is kept; refuse to go back behind it.")
@json_option
@reports_errors
def verify(
    url: str,
    key: str | None,
    checkpoint: str | None,
    pin: tuple[int, str] | None,
    level: Level,
    archive_place: str | None,
    witnesses: str | None,
    pins: str | None,
    as_json: bool,
) -> None:
    """Rebuild the whole ledger and compare it with its signed head."""
    pinned = (pin[0], _root(pin[1])) if pin else None
    with Progress(console=Console(stderr=True), transient=True, disable=as_json or not sys.stderr.isatty()) as progress:
        task = progress.add_task("Verifying", total=None)
        report = verify_ledger(
            url,
            key=key,
            pin=pinned,
            checkpoint=checkpoint,
            level=level,
            archive=archive_place,
            witnesses=None if witnesses is None else parse_policy(read_small_file(Path(witnesses))),
            pins=None if pins is None else PinStore(Path(pins)),
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        _print_report(report)
    sys.exit(0 if report.is_verified else TAMPERED_STATUS)


@click.command()
@ledger_option
@click.option("--session", help="Only the entries of this session.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, the latest.")
@json_option
@reports_errors
def show(url: str, session: str | None, limit: int, as_json: bool) -> None:
    """Print the latest entries, as a table or as JSON Lines."""
    with Ledger.open(url, read_only=True) as log:
        start = 0 if session is not None else max(0, log.size - limit)
        rows = deque(log.leaves(start, session=session), maxlen=limit)
    if as_json:
        for index, leaf in rows:
            row = {"index": index, "leaf_hash": leaf_hash(leaf).hex(), "entry": decode(leaf)}
            click.echo(json.dumps(row, separators=(",", ":")))
        return
    table = Table("index", "time", "session", "type", "entry", box=None, pad_edge=False)
    for index, leaf in rows:
        entry = decode(leaf)
        stamps = [entry.pop(name, "") for name in ("time", "session", "type")]
        for stamp in ("v", "id", "seq", "writer"):
            entry.pop(stamp, None)
        table.add_row(
            str(index), *(_printable(str(stamp)) for stamp in stamps), _printable(json.dumps(entry, ensure_ascii=False))
        )
    _console().print(table)


@click.command()
@click.argument("index", type=click.IntRange(min=0))
@ledger_option
@_key_option
@json_option
@reports_errors
def prove(index: int, url: str, key: str | None, as_json: bool) -> None:
    """Print the proof (C2SP tlog-proof) that entry INDEX is in the ledger, and verify it."""
    location = Location.parse(url)
    public_path = location.beside(".pub")
    if public_path is None:
        raise UsageError("usage.database_unsupported", "A ledger in memory cannot be opened from outside.")
    with Ledger.open(url, read_only=True) as log:
        trusted = TrustedKey.find(key, public_path)
        note, leaf = log.checkpoint(), log.leaf(index)
        size = int(note.split("\n", 2)[1])
        proof = EntryProof(index, tuple(log.inclusion_proof(index, size)), note)
    checkpoint = EntryProof.parse(str(proof)).verify(leaf, trusted.verifier)
    if as_json:
        shown = {
            "verified": True,
            "index": index,
            "leaf_hash": leaf_hash(leaf).hex(),
            "size": checkpoint.size,
            "root": base64_text(checkpoint.root),
            "proof": [value.hex() for value in proof.hashes],
            "checkpoint": note,
            "key": str(trusted.verifier),
            "key_source": trusted.source,
        }
        click.echo(json.dumps(shown))
        return
    click.echo(str(proof), nl=False)
    click.echo(f"verified: entry {index} is in the tree of {checkpoint.size} entries; key {trusted.source}", err=True)


def _print_report(report: Report) -> None:
    console = _console()
    verdict = Text("VERIFIED", style="bold green") if report.is_verified else Text("NOT VERIFIED", style="bold red")
    console.print(verdict, _printable(f"{report.origin}, {report.size} entries, root {base64_text(report.root)}"))
    console.print(_printable(f"key: {report.key.verifier}\n     {report.key.source}"))
    for problem in report.problems:
        console.print(Text(" ✗", style="red"), _printable(str(problem)))
    if report.problem_count > len(report.problems):
        console.print(f"   and {report.problem_count - len(report.problems)} more")
    if report.unknown:
        console.print(f"unknown: {len(report.unknown)} without a known outcome: entry {_some(str(i) for i in report.unknown)}")
    if report.erased:
        console.print(
            _printable(f"erased: {len(report.erased)} of the salts: {_some(f'entry {i} {name}' for i, name in report.erased)}")
        )
    if report.archived:
        console.print(f"archived: entries before {report.archived} were checked by their hashes; give --archive to check them")
    if len(report.keys) > 1:
        console.print(f"keys: {len(report.keys)}, the signing key was rotated; see `guardrails ledger keys show`")
    if report.since and not report.is_verified:
        console.print(f"sound until {report.since}: what is wrong is in entries after that")
    if report.pins:
        console.print("pinned: the ledger contains what it contained at the earlier checkpoint")
    if report.witnessed is not None:
        console.print(f"witnessed: enough witnesses cosigned the first {report.witnessed} entries")
    if report.caveat:
        console.print(f"note: {report.caveat}")


def _some(items: Iterator[str]) -> str:
    shown = list(islice(items, _LISTED_INDEXES + 1))
    return ", ".join(shown[:_LISTED_INDEXES]) + (", …" if len(shown) > _LISTED_INDEXES else "")


def _printable(text: str) -> Text:
    # Entries hold text that agents wrote: no control sequence of theirs reaches the terminal.
    return Text("".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text))


def _root(text: str) -> bytes:
    try:
        return strict_base64(text)
    except LedgerError as error:
        raise UsageError("usage.input_invalid", "The pinned root is not base64.") from error


def _console() -> Console:
    # Without a terminal nothing is wrapped at 80 columns, so that other programs can read the lines.
    return Console(width=None if sys.stdout.isatty() else 10_000, soft_wrap=True)
