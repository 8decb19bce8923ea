"""Exports a range of a ledger as a folder of evidence that an auditor verifies with one file, without this library.

    checkpoint                   the signed head with all its signature lines (C2SP tlog-checkpoint)
    tile/<L>/..., tile/entries/...  hashes and entries around the range (C2SP tlog-tiles)
    proofs/<index>.tlog-proof    one for each cited entry, and for each that they depend on (C2SP tlog-proof)
    context.jsonl                the bytes of those of them that lie in no entry bundle of the folder, one a line
    consistency                  proof from the auditor's last checkpoint, one hash a line in base64
    policies/<sha256>.json       texts of the policies in force
    keys.json                    the log's verifier keys, for information
    manifest.json                ranges, and the SHA-256 of every file
    README.txt, verify.py        how to verify, and the verifier

Salts and private values are never part of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from guardrails.errors import LedgerError, TamperedError, UsageError
from guardrails.ledger.checkpoint import Checkpoint
from guardrails.ledger.evidence.contents import PolicyText, Steps, write_entries, write_policies, write_proofs
from guardrails.ledger.evidence.context import gather
from guardrails.ledger.evidence.ranges import find_time, parse_moment
from guardrails.ledger.evidence.readme import README
from guardrails.ledger.evidence.source import EvidenceSource, WholeLog
from guardrails.ledger.evidence.verifier import FORMAT, canonical_manifest
from guardrails.ledger.evidence.writing import new_folder
from guardrails.ledger.note import base64_text
from guardrails.ledger.publishing.source import Reader
from guardrails.ledger.report import read_small_file
from guardrails.ledger.tile_tree import TileTree
from guardrails.ledger.tiles import TILE_WIDTH

__all__ = ["Evidence", "export_evidence"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """An exported folder.

    Args:
        directory: The folder.
        start: First entry of the range.
        end: The entry that it stops before.
        cited: How many entries have a proof of their own for their own sake.
        context: How many others they depend on.
        checkpoint: The head that everything is proven to.
        missing_policies: Digests of policies in force whose text was not to be had.
        digest: SHA-256 (hex) that the manifest ends up with: names the whole bundle.
    """

    directory: Path
    start: int
    end: int
    cited: int
    context: int
    checkpoint: Checkpoint
    missing_policies: tuple[str, ...]
    digest: str


def export_evidence(
    ledger: EvidenceSource,
    directory: str | Path,
    *,
    start: int | None = None,
    end: int | None = None,
    from_time: str | None = None,
    to_time: str | None = None,
    cited: Iterable[int] | None = None,
    since: str | Path | None = None,
    checkpoint: str | Path | None = None,
    archive: Reader | None = None,
    policies: Iterable[PolicyText] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """Writes the evidence for a range of entries. The folder appears whole or not at all.

    Args:
        ledger: The log. It is read once from end to end, for what the range depends on.
        directory: The new folder.
        start: First entry; by default 0, or the first cited one.
        end: Entry to stop before; by default the end, or the one after the last cited one.
        from_time: Instead of `start`: entries at or after this time, a date or RFC 3339 with a zone.
        to_time: Instead of `end`: entries before this time.
        cited: The entries that get proofs of their own; by default all of the range.
        since: The auditor's last checkpoint of this log, as text or as a path.
        checkpoint: A checkpoint of this log, as text or as a path, by default the one that witnesses cosigned last; the latest one
            where it does not cover the range.
        archive: Where the ledger's oldest entries were moved to.
        policies: Policies whose texts are added where an entry names them; others are taken from what the ledger keeps.
        progress: Called now and then with (steps done, steps in all).

    Raises:
        UsageError: `directory` exists already or cannot be written, or the arguments contradict each other (usage.input_invalid).
        LedgerError: The range is not within the ledger (ledger.index_range), an entry of it is in an archive (ledger.archived), or
            a checkpoint is malformed or of another log (ledger.note_invalid).
        TamperedError: An entry was changed (ledger.tampered), or `since` contradicts the log (ledger.inconsistent).
    """
    latest, log = ledger.checkpoint(), WholeLog(ledger, archive)
    range_, times = _range(log, _opened(latest).size, start, end, from_time, to_time, cited)
    old = None if since is None else _opened(_note(since))
    note = (_note(checkpoint) if checkpoint is not None else ledger.published()) or latest
    if _opened(note).size < max(range_.stop, old.size if old is not None else 0):
        note = latest
    head = _opened(note)
    if head.origin != _opened(latest).origin:
        raise LedgerError("ledger.note_invalid", "The checkpoint is of another log.")
    wanted = range_ if cited is None else sorted(set(cited))
    if any(index not in range_ for index in wanted):
        raise LedgerError("ledger.index_range", "A cited entry is not within the range.")
    tree = TileTree(head, lambda tile: ledger.tile(tile.level, tile.index, tile.width))
    earlier = None if old is None else _contained_in(old, tree)
    contained = _contained(range_, head.size)
    steps = Steps(progress, head.size + len(contained) + len(wanted))
    beside = [index for index in (range_.start - 1, range_.stop) if times is not None and 0 <= index < head.size]
    context = gather(log, range_, head.size, beside, steps.take)
    with new_folder(Path(directory).absolute()) as folder:
        folder.write("checkpoint", note.encode())
        write_entries(folder, log, tree, contained, steps)
        write_proofs(folder, tree, note, sorted({*wanted, *context.indexes}), steps)
        outside = [log.leaf(index) for index in sorted(context.indexes) if index not in contained]
        folder.write("context.jsonl", b"".join(leaf + b"\n" for leaf in outside))
        if earlier is not None:
            proof = tree.consistency_proof(earlier.size) if earlier.size else []
            folder.write("consistency", "".join(f"{base64_text(value)}\n" for value in proof).encode())
        missing = write_policies(folder, ledger, context, policies)
        keys = {"for_information_only": True, "keys": context.keys or [ledger.verifier_key]}
        folder.write("keys.json", (json.dumps(keys, indent=1) + "\n").encode())
        folder.write("README.txt", README.encode())
        folder.write("verify.py", files(__package__).joinpath("verifier.py").read_bytes())
        manifest: dict[str, object] = {
            "format": FORMAT,
            "origin": head.origin,
            "size": head.size,
            "root": base64_text(head.root),
            "range": [range_.start, range_.stop],
            "contained": [contained.start, contained.stop],
            "times": times,
            "cited": "all" if cited is None else list(wanted),
            "context": sorted(context.indexes),
            "since": None if earlier is None else {"size": earlier.size, "root": base64_text(earlier.root)},
            "policies_missing": missing,
            "files": dict(folder.digests),
        }
        digest = folder.seal("manifest.json", manifest, canonical_manifest)
    return Evidence(
        Path(directory).absolute(),
        range_.start,
        range_.stop,
        len(wanted),
        len(context.indexes),
        head,
        tuple(missing),
        digest,
    )


def _range(
    log: WholeLog,
    size: int,
    start: int | None,
    end: int | None,
    from_time: str | None,
    to_time: str | None,
    cited: Iterable[int] | None,
) -> tuple[range, dict[str, str | None] | None]:
    """Returns the range, and the times that it was asked for by."""
    if (start is not None and from_time is not None) or (end is not None and to_time is not None):
        raise UsageError("usage.input_invalid", "A bound is given both as an index and as a time.")
    times: dict[str, str | None] | None = None
    if from_time is not None or to_time is not None:
        if start is not None or end is not None:
            raise UsageError("usage.input_invalid", "One bound is given as an index and one as a time.")
        times = {"from": from_time and parse_moment(from_time), "to": to_time and parse_moment(to_time)}
        low, high = times["from"], times["to"]
        start = 0 if low is None else find_time(log.leaf, size, low)
        end = size if high is None else find_time(log.leaf, size, high)
        if low is not None and high is not None and low >= high:
            raise UsageError("usage.input_invalid", "The range of times is empty.")
    named = list(cited) if cited is not None else []
    first = (min(named) if named else 0) if start is None else start
    stop = (max(named) + 1 if named else size) if end is None else end
    if not 0 <= first <= stop <= size:
        raise LedgerError("ledger.index_range", f"The range {first} to {stop} is not within the {size} entries.")
    return range(first, stop), times


def _contained(range_: range, size: int) -> range:
    """Returns the range rounded outwards to whole entry bundles."""
    if not range_:
        return range_
    return range(range_.start // TILE_WIDTH * TILE_WIDTH, min(-(-range_.stop // TILE_WIDTH) * TILE_WIDTH, size))


def _opened(note: str) -> Checkpoint:
    """Returns the checkpoint in a note; who signed it is for the auditor to judge."""
    text, separator, _ = note.rpartition("\n\n")
    if not separator:
        raise LedgerError("ledger.note_invalid", "The checkpoint is not a signed note.")
    return Checkpoint.parse(text + "\n")


def _note(given: str | Path) -> str:
    return given if isinstance(given, str) and "\n" in given else read_small_file(Path(given))


def _contained_in(earlier: Checkpoint, tree: TileTree) -> Checkpoint:
    if earlier.origin != tree.head.origin:
        raise LedgerError("ledger.note_invalid", "The auditor's checkpoint is of another log.")
    if earlier.size > tree.head.size or tree.root_at(earlier.size) != earlier.root:
        raise TamperedError(
            "ledger.inconsistent",
            "The ledger does not contain what it contained at the auditor's checkpoint.",
            evidence={"old": str(earlier), "new": str(tree.head)},
        )
    return earlier
