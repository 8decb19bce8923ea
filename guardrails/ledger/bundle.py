"""Exports a range of a ledger as a folder that can be checked anywhere, with or without this library.

    entries.jsonl               the entries' canonical bytes, one a line: what the leaf hashes are over
    proofs/<index>.tlog-proof   C2SP tlog-proof of each entry, with the checkpoint
    checkpoint                  the signed head, a C2SP checkpoint
    verifier.pub                the log's verifier key
    manifest.json               format, range, size, root, and the SHA-256 of entries.jsonl, checkpoint and verifier.pub

Salts and private values are never part of it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.checkpoint import Checkpoint, open_checkpoint
from guardrails.ledger.entry import decode
from guardrails.ledger.log import Ledger
from guardrails.ledger.note import Verifier, base64_text
from guardrails.ledger.proof import EntryProof
from guardrails.ledger.report import Problem, Report, TrustedKey, read_small_file

__all__ = ["Bundle", "export", "verify_bundle"]

FORMAT = "guardrails-ledger-bundle/1"
_LISTED = ("entries.jsonl", "checkpoint", "verifier.pub")


@dataclass(frozen=True, slots=True)
class Bundle:
    """An exported folder: entries `start` to `end` (exclusive) of the tree in `checkpoint`."""

    directory: Path
    start: int
    end: int
    checkpoint: Checkpoint


def export(ledger: Ledger, directory: str | Path, start: int = 0, end: int | None = None) -> Bundle:
    """Writes entries `start` to `end` (exclusive; by default all) with their proofs. The folder appears whole or not at all.

    Raises:
        UsageError: `directory` exists already or cannot be written (usage.input_invalid).
        LedgerError: The range is not within the ledger (ledger.index_range).
        TamperedError: An entry was changed.
    """
    target = Path(directory).absolute()
    if target.exists():
        raise UsageError("usage.input_invalid", f"{target} exists already; an export never replaces anything.")
    note = ledger.checkpoint()
    head = open_checkpoint(note, Verifier.parse(ledger.verifier_key))
    stop = head.size if end is None else end
    if not 0 <= start <= stop <= head.size:
        raise LedgerError("ledger.index_range", f"The range {start} to {stop} is not within the {head.size} entries.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
            folder = Path(temporary) / "bundle"
            (folder / "proofs").mkdir(parents=True)
            with (folder / "entries.jsonl").open("wb") as lines:
                for index, leaf in ledger.leaves(start, stop):
                    lines.write(leaf + b"\n")
                    proof = EntryProof(index, tuple(ledger.inclusion_proof(index, head.size)), note)
                    (folder / "proofs" / f"{index}.tlog-proof").write_text(str(proof), "utf-8")
            (folder / "checkpoint").write_text(note, "utf-8")
            (folder / "verifier.pub").write_text(f"{ledger.verifier_key}\n", "utf-8")
            (folder / "manifest.json").write_bytes(_manifest(folder, head, start, stop))
            folder.rename(target)
    except OSError as error:
        raise UsageError("usage.input_invalid", f"{target} cannot be written.", evidence={"error": str(error)}) from error
    return Bundle(target, start, stop, head)


def verify_bundle(directory: str | Path, *, key: str | Path | None = None) -> Report:
    """Checks an exported folder: files against the manifest, each entry's form, and each proof up to the signed checkpoint.

    Args:
        directory: The folder.
        key: The log's verifier key, as text or as a path; by default the one in the folder, which proves only that the folder
            agrees with itself.

    Raises:
        UsageError: A file is missing.
        LedgerError: The key, the manifest or the checkpoint is malformed or not signed by the key.
    """
    folder = Path(directory)
    trusted = TrustedKey.find(key, folder / "verifier.pub")
    head = open_checkpoint(read_small_file(folder / "checkpoint"), trusted.verifier)
    manifest = _read_manifest(folder)
    start, end = manifest.start, manifest.end
    problems = [
        Problem(None, f"{name} differs from the manifest") for name in _LISTED if manifest.files[name] != _digest(folder / name)
    ]
    index = start
    with (folder / "entries.jsonl").open("rb") as lines:
        for line in lines:
            if what := _entry_problem(folder, index, line, trusted.verifier, head):
                problems.append(Problem(index, what))
            index += 1
    if index != end:
        problems.append(Problem(index, f"the manifest says that the entries end at {end}"))
    return Report(head.origin, index - start, head.root, trusted, tuple(problems[:100]), len(problems))


class _Manifest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: Literal["guardrails-ledger-bundle/1"]
    origin: str
    size: int
    root: str
    start: int
    end: int
    files: dict[str, str]


def _manifest(folder: Path, head: Checkpoint, start: int, end: int) -> bytes:
    manifest = {
        "format": FORMAT,
        "origin": head.origin,
        "size": head.size,
        "root": base64_text(head.root),
        "start": start,
        "end": end,
        "files": {name: _digest(folder / name) for name in _LISTED},
    }
    return orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _read_manifest(folder: Path) -> _Manifest:
    try:
        manifest = _Manifest.model_validate_json(read_small_file(folder / "manifest.json"))
    except ValidationError as error:
        raise LedgerError("ledger.note_invalid", "The manifest of the bundle is malformed.") from error
    if manifest.files.keys() != set(_LISTED):
        raise LedgerError("ledger.note_invalid", "The manifest of the bundle does not list its files.")
    return manifest


def _entry_problem(folder: Path, index: int, line: bytes, verifier: Verifier, head: Checkpoint) -> str:
    leaf = line.removesuffix(b"\n")
    try:
        decode(leaf)
        proof = EntryProof.parse(read_small_file(folder / "proofs" / f"{index}.tlog-proof"))
        if proof.index != index:
            return "its proof is of another entry"
        if proof.verify(leaf, verifier) != head:
            return "its proof leads to another checkpoint"
    except (LedgerError, UsageError) as error:
        return error.message
    return ""


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError("usage.file_missing", f"The file {path} does not exist or cannot be read.") from error
