"""`guardrails ledger publish|serve|monitor|mirror`: a ledger as static files that others can follow (C2SP tlog-tiles).

Exit status: 0 done and in order, 1 tampered, forked or incomplete, 2 usage.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from guardrails.cli.ledger_options import json_option, ledger_option, reports_errors
from guardrails.errors import LedgerError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.note import Verifier, base64_text
from guardrails.ledger.publishing.archive import ArchivedSource, ArchiveReader
from guardrails.ledger.publishing.client import TileClient
from guardrails.ledger.publishing.client import mirror as mirror_log
from guardrails.ledger.publishing.directory import DirectoryTarget
from guardrails.ledger.publishing.exporter import Published
from guardrails.ledger.publishing.exporter import publish as publish_log
from guardrails.ledger.publishing.monitor import monitor as monitor_log
from guardrails.ledger.publishing.places import open_reader, open_target
from guardrails.ledger.publishing.server import LogServer
from guardrails.ledger.publishing.source import LogSource, Reader, SourceReader
from guardrails.ledger.report import TrustedKey

__all__ = ["mirror", "monitor", "publish", "serve"]

_LOOPBACK = "127.0.0.1"

_trusted_keys_option = click.option(
    "--key",
    "keys",
    required=True,
    multiple=True,
    metavar="TEXT_OR_PATH",
    help="The log's verifier key, known from elsewhere; may be repeated where it had another before.",
)
_repair_option = click.option("--repair", is_flag=True, help="Go through all files and write those that are missing.")
_no_entries_option = click.option("--no-entries", is_flag=True, help="Checkpoint and hashes only, no entries.")
_keep_option = click.option("--keep-partials", is_flag=True, help="Keep partial files whose full ones are published.")


@click.command()
@click.argument("target", metavar="FOLDER_OR_URL")
@ledger_option
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="TEXT_OR_PATH",
    help="The verifier keys to trust, now and in what is published already; by default the ledger's own.",
)
@click.option("--cosigned", is_flag=True, help="Publish only what witnesses cosigned; see `guardrails ledger cosign`.")
@click.option("--archive", "archive_place", metavar="FOLDER_OR_URL", help="Where old entries of the ledger were moved to.")
@_no_entries_option
@_repair_option
@_keep_option
@json_option
@reports_errors
def publish(
    target: str,
    url: str,
    keys: tuple[str, ...],
    cosigned: bool,
    archive_place: str | None,
    no_entries: bool,
    repair: bool,
    keep_partials: bool,
    as_json: bool,
) -> None:
    """Publish the ledger into a folder or an object store (s3://bucket/folder): what is new, and the checkpoint last."""
    place = open_target(target)
    with Ledger.open(url, read_only=True) as log, _progress("Publishing", as_json) as progress:
        trusted = _trusted(keys) or [period.verifier for period in log.keys().periods if period.revoked_from is None]
        source: LogSource = log
        if archive_place is not None:
            source = ArchivedSource(log, ArchiveReader(open_reader(archive_place), log.tile), log.archived)
        note = log.published() if cosigned else None
        if note == "":
            raise LedgerError("ledger.quorum_missing", "No checkpoint of the ledger was cosigned yet.")
        done = publish_log(
            source,
            place,
            trusted,
            note=note,
            has_entries=not no_entries,
            repair=repair,
            keep_partials=keep_partials,
            progress=progress,
        )
    _print_published(done, target, as_json)


@click.command()
@click.option("--ledger", "url", metavar="URL_OR_PATH", help="Serve this live ledger.")
@click.option(
    "--directory", type=click.Path(exists=True, file_okay=False), help="Serve this folder that a log is published in."
)
@click.option("--host", default=_LOOPBACK, show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 for any free one.")
@_no_entries_option
@click.option("--name", "names", multiple=True, metavar="HOST", help="A name under which a proxy in front is asked.")
@json_option
@reports_errors
def serve(
    url: str | None, directory: str | None, host: str, port: int, no_entries: bool, names: tuple[str, ...], as_json: bool
) -> None:
    """Serve a ledger, or a folder that one is published in, read-only over HTTP until it is interrupted."""
    if (url is None) == (directory is None):
        raise UsageError("usage.input_invalid", "Give --ledger or --directory.")
    with ExitStack() as opened:
        reader: Reader
        if url is not None:
            log = opened.enter_context(Ledger.open(url, read_only=True))
            reader = SourceReader(log)
        else:
            reader = DirectoryTarget(str(directory))
        server = opened.enter_context(
            LogServer(
                reader,
                host,
                port,
                has_entries=not no_entries,
                names=names,
                on_error=lambda error: click.echo(f"error: {error}", err=True),
            )
        )
        click.echo(json.dumps({"url": server.url, "entries": not no_entries}) if as_json else f"serving {server.url}")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped", err=True)


@click.command()
@click.argument("log", metavar="URL_OR_FOLDER")
@_trusted_keys_option
@click.option("--state", required=True, type=click.Path(dir_okay=False), help="File with the checkpoint that was seen last.")
@click.option("--full", is_flag=True, help="Read all entries again, not only new ones.")
@_no_entries_option
@json_option
@reports_errors
def monitor(log: str, keys: tuple[str, ...], state: str, full: bool, no_entries: bool, as_json: bool) -> None:
    """Compare a published log with the checkpoint seen last, check its new entries, and remember its checkpoint."""
    with _progress("Reading entries", as_json) as progress:
        client = TileClient(log, _trusted(keys))
        seen = monitor_log(client, state, full=full, has_entries=not no_entries, progress=progress)
    if as_json:
        shown = {
            "verified": True,
            "origin": seen.head.origin,
            "size": seen.head.size,
            "root": base64_text(seen.head.root),
            "old_size": seen.old_size,
            "checked": seen.checked,
        }
        click.echo(json.dumps(shown))
        return
    before = "seen for the first time" if seen.old_size is None else f"contains the {seen.old_size} entries seen before"
    click.echo(f"in order: {seen.head.origin}, {seen.head.size} entries; {before}; {seen.checked} entries checked")


@click.command()
@click.argument("log", metavar="URL_OR_FOLDER")
@click.argument("target", metavar="FOLDER_OR_URL")
@_trusted_keys_option
@_no_entries_option
@_repair_option
@_keep_option
@json_option
@reports_errors
def mirror(
    log: str, target: str, keys: tuple[str, ...], no_entries: bool, repair: bool, keep_partials: bool, as_json: bool
) -> None:
    """Copy a published log into a folder or an object store, checking all of it."""
    place = open_target(target)
    with _progress("Mirroring", as_json) as progress:
        client = TileClient(log, _trusted(keys))
        done = mirror_log(
            client, place, has_entries=not no_entries, repair=repair, keep_partials=keep_partials, progress=progress
        )
    _print_published(done, target, as_json)


def _print_published(done: Published, target: str, as_json: bool) -> None:
    if as_json:
        shown = {
            "target": target,
            "origin": done.head.origin,
            "size": done.head.size,
            "root": base64_text(done.head.root),
            "old_size": done.old_size,
            "written": done.written,
            "present": done.present,
            "deleted": done.deleted,
        }
        click.echo(json.dumps(shown))
        return
    before = "" if done.old_size is None else f", {done.old_size} before"
    click.echo(f"{done.head.size} entries in {target}{before}; {done.written} files written, {done.deleted} deleted")


def _trusted(keys: Sequence[str]) -> list[Verifier]:
    # Each key is given, so nothing beside the log is looked at.
    return [TrustedKey.find(key, Path()).verifier for key in keys]


@contextmanager
def _progress(what: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    with Progress(console=Console(stderr=True), transient=True, disable=as_json or not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
