#!/usr/bin/env python3
"""Verifies a folder of evidence that was exported from a ledger. One file, made to be read before it is trusted.

    python -I verify.py BUNDLE --key KEY [--since CHECKPOINT] [--witness KEY ... --quorum N] [--json]

It needs Python 3.9 or later and the package `cryptography`; it connects to nothing and writes nothing. KEY is the log's verifier key,
as text or as a file, which must have come to you by another way than with the bundle: a key inside the bundle is never trusted.
Exit status: 0 everything was verified, 1 something was changed or is missing, 2 wrong usage.

The formats: Merkle tree and proofs of RFC 6962 / RFC 9162; C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-proof and
tlog-cosignature (https://c2sp.org); entries in canonical JSON (a profile of RFC 8785), each signed with Ed25519.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["FORMAT", "Failure", "Report", "Usage", "canonical_manifest", "check", "main"]

FORMAT = "guardrails-evidence/1"
WIDTH = 256  # hashes in a full tile, entries in a full entry bundle
MAX_SIZE = 2**63 - 1
MAX_ENTRY_BYTES = 65_535
MAX_INTEGER = 2**53
MAX_DEPTH = 32
MAX_SHOWN = 100
CONTEXT = b"guardrails ledger entry v2\n"  # the line before an entry's bytes in what is signed
KEY_CHANGES = ("key.rotate", "key.retire", "key.revoke")
FIELD = 2**255 - 19


class Failure(Exception):
    """Something in the bundle was changed, is missing or contradicts something else."""


class Usage(Exception):
    """What was asked for cannot be done."""


# ---- text and bytes: only the one canonical form of anything is accepted ----------------------------------------------


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def strict_base64(text: Any) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise Failure("a text is not base64") from error
    if base64_text(data) != text:
        raise Failure("a base64 text is not in its canonical form")
    return data


def text_of(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{what} is not UTF-8 text") from error


def read_json(data: bytes, what: str) -> Any:
    def refuse(_text: str) -> NoReturn:
        raise ValueError("a number that is no integer")

    try:
        return json.loads(data.decode("utf-8"), parse_float=refuse, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Failure(f"{what} is not JSON of the expected kind") from error


def canonical_entry(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def read_entry(data: bytes) -> dict[str, Any]:
    """Reads an entry: an object with ASCII keys, integers up to 2^53 and no other numbers, at most 32 levels, in canonical form."""
    if len(data) > MAX_ENTRY_BYTES:
        raise Failure("it is larger than 64 KiB")
    entry = read_json(data, "it")
    if not isinstance(entry, dict):
        raise Failure("it is not a JSON object")
    pending: list[tuple[Any, int]] = [(entry, 1)]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, (dict, list)):
            if depth > MAX_DEPTH:
                raise Failure("it is nested too deeply")
            if isinstance(value, dict) and not all(name.isascii() for name in value):
                raise Failure("it has a key that is not ASCII")
            pending.extend((item, depth + 1) for item in (value.values() if isinstance(value, dict) else value))
        elif type(value) is int and abs(value) > MAX_INTEGER:
            raise Failure("it has an integer beyond 2^53")
    try:
        is_canonical = canonical_entry(entry) == data
    except UnicodeEncodeError:  # a lone surrogate
        is_canonical = False
    if not is_canonical:
        raise Failure("it is not in canonical form")
    return entry


def canonical_manifest(manifest: dict[str, Any]) -> bytes:
    """Returns the manifest's bytes; its field `sha256` is the digest of these bytes without that field."""
    return (json.dumps(manifest, ensure_ascii=True, sort_keys=True, indent=1) + "\n").encode("ascii")


# ---- the Merkle tree (RFC 9162, section 2.1) --------------------------------------------------------------------------


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def peaks_of(hashes: Sequence[bytes]) -> list[bytes]:
    """Returns the roots of the complete subtrees that make up a row of hashes, the largest first."""
    peaks: list[bytes] = []
    rest = list(hashes)
    while rest:
        width = 1 << (len(rest).bit_length() - 1)
        row, rest = rest[:width], rest[width:]
        while len(row) > 1:
            row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
        peaks += row
    return peaks


def fold(peaks: Sequence[bytes]) -> bytes:
    """Returns the root over complete subtrees, the largest first."""
    if not peaks:
        return hashlib.sha256(b"").digest()
    root = peaks[-1]
    for left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162, section 2.1.3.2."""
    if not 0 <= index < size:
        raise Failure("its index is beyond the checkpoint")
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise Failure("its inclusion proof is too long")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or computed != root:
        raise Failure("its inclusion proof does not lead to the checkpoint")


def check_consistency(old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162, section 2.1.4.2: the tree of `old_size` is a prefix of the tree of `size`."""
    if old_size in (0, size):
        if proof or old_root != (root if old_size else fold([])):
            raise Failure("two checkpoints of the same size differ: the log was forked")
        return
    if not 0 < old_size < size:
        raise Failure(f"the log had {old_size} entries before and has {size} now: it was rolled back or cut off")
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not proof:
        raise Failure("the consistency proof is empty")
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Failure("the consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or old != old_root or new != root:
        raise Failure("the log does not contain what it contained at the earlier checkpoint: it was forked or rewritten")


# ---- keys, signed notes and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature) -------------------------


def ed25519(public: bytes) -> Ed25519PublicKey:
    """Returns a key, unless it is one under which anybody can sign (a point of small order) or has a second spelling."""
    y = int.from_bytes(public, "little") & (2**255 - 1)
    d = -121665 * pow(121666, -1, FIELD) % FIELD
    is_order_eight = (2 * y * y - 1 + d * y**4) % FIELD == 0  # twice the point has y = 0
    if len(public) != 32 or y >= FIELD or y in (0, 1, FIELD - 1) or is_order_eight:
        raise Failure("a public key is not a usable Ed25519 key")
    try:
        return Ed25519PublicKey.from_public_bytes(public)
    except ValueError as error:
        raise Failure("a public key is not an Ed25519 key") from error


def holds(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True)
class Key:
    """A verifier key, ``name+hash+base64(type || public key)``: type 1 signs for a log, type 4 cosigns as a witness."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: Any) -> Key:
        name, _, rest = text.partition("+") if isinstance(text, str) else ("", "", "")
        data = strict_base64(rest.partition("+")[2])
        if data[:1] not in (b"\x01", b"\x04"):
            raise Failure("a verifier key is not of a supported type (Ed25519)")
        key = cls(name, data[0], data[1:])
        ed25519(key.public)
        if not is_name(name) or str(key) != text:
            raise Failure("a verifier key is not in canonical form, or its hash does not fit")
        return key

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    @property
    def entry_id(self) -> str:
        """How entries name the key that signed them."""
        return hashlib.sha256(self.public).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64_text(bytes([self.kind]) + self.public)}"

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        return holds(ed25519(self.public), signature, message)


def is_name(name: str) -> bool:
    return bool(name) and not any(c == "+" or c < " " or c.isspace() or "\ud800" <= c <= "\udfff" for c in name)


def open_note(note: str, keys: Iterable[Key]) -> tuple[str, dict[Key, int | None]]:
    """Returns a note's text, and who of `keys` signed it, with the time in POSIX seconds that a cosignature states."""
    body, separator, tail = note.rpartition("\n\n")
    text = body + "\n"
    if not separator or not tail.endswith("\n") or len(note) > 1_000_000 or tail.count("\n") > 100:
        raise Failure("a signed note is malformed")
    if text == "\n" or any((c < " " and c != "\n") or "\ud800" <= c <= "\udfff" for c in text):
        raise Failure("a signed note has control characters or no text")
    known = {(key.name, key.hash): key for key in keys}
    signers: dict[Key, int | None] = {}
    for line in tail[:-1].split("\n"):
        mark, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        signature = strict_base64(encoded)
        if mark != "\u2014" or not is_name(name) or len(signature) < 5:
            raise Failure("a signature line of a note is malformed")
        key = known.get((name, signature[:4]))
        if key is None:
            continue
        time_s, message = None, text
        if key.kind == 4:
            time_s = int.from_bytes(signature[4:12], "big")
            message = f"cosignature/v1\ntime {time_s}\n{text}"
        bare = signature[4:] if time_s is None else signature[12:]
        if len(bare) != 64 or key in signers or not key.has_signed(bare, message.encode()):
            raise Failure(f"a signature of {name} under a checkpoint does not hold")
        signers[key] = time_s
    return text, signers


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]) or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1], re.ASCII):
            raise Failure("a checkpoint is malformed")
        found = cls(lines[0], int(lines[1]), strict_base64(lines[2]))
        if not is_name(found.origin) or found.size > MAX_SIZE or len(found.root) != 32:
            raise Failure("a checkpoint is malformed")
        return found


class LogKeys:
    """The log's own keys, as the entries that change them tell. Each change is endorsed by the keys themselves."""

    def __init__(self, first: Key) -> None:
        self.keys = [first]
        self.valid_from = {first: 0}  # tree size; so are the next two
        self.retired_at: dict[Key, int] = {}
        self.revoked_from: dict[Key, int] = {}

    @property
    def current(self) -> Key:
        return self.keys[-1]

    def signs_for(self, key: Key, size: int) -> bool:
        """Tells whether the key's word counts for a tree of this size."""
        return self.valid_from[key] <= size <= self.retired_at.get(key, MAX_SIZE) and size < self.revoked_from.get(key, 2**63)

    def change(self, index: int, entry: dict[str, Any]) -> None:
        if entry["type"] == "key.rotate":
            old, new, endorsed = Key.parse(entry.get("old")), Key.parse(entry.get("new")), entry.get("endorsements")
            is_new = (
                new.kind == 1
                and new.public not in [k.public for k in self.keys]
                and new.hash not in [k.hash for k in self.keys]
            )
            if old != self.current or new.name != old.name or not is_new or not isinstance(endorsed, dict):
                raise Failure("it does not follow from the log's keys so far")
            text = f"guardrails ledger key rotation v1\n{old.name}\n{old}\n{new}\n"
            self._check(old, text, endorsed.get("old"))
            self._check(new, text, endorsed.get("new"))
            self.keys.append(new)
            self.valid_from[new] = index + 1
            return
        key, by = Key.parse(entry.get("key")), Key.parse(entry.get("signed_by"))
        if by != self.current or key == by or key not in self.keys:
            raise Failure("it does not follow from the log's keys so far")
        if entry["type"] == "key.retire":
            self._check(by, f"guardrails ledger key retirement v1\n{by.name}\n{key}\n{by}\n", entry.get("signature"))
            if key in self.retired_at or key in self.revoked_from:
                raise Failure("it retires a key that was retired or revoked before")
            self.retired_at[key] = index
        else:
            size = entry.get("from_size")
            if type(size) is not int or not 1 <= size <= index + 1 or self.revoked_from.get(key, MAX_SIZE) <= size:
                raise Failure("it revokes a key from a tree size that cannot be")
            self._check(by, f"guardrails ledger key revocation v1\n{by.name}\n{key}\n{size}\n{by}\n", entry.get("signature"))
            self.revoked_from[key] = size

    @staticmethod
    def _check(key: Key, text: str, signature: Any) -> None:
        if not key.has_signed(strict_base64(signature), text.encode()):
            raise Failure("a key that it names did not sign it")


# ---- the folder: what the manifest lists, no more and no less ---------------------------------------------------------


def tile_path(kind: str, index: int, width: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join(["tile", kind, *("x" + part for part in parts[:-1]), parts[-1]])
    return path if width == WIDTH else f"{path}.p/{width}"


class Folder:
    """The bundle's files. Each is held to the manifest's digest whenever it is read, and read at least once."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.manifest = self._read_manifest()
        self.files: dict[str, str] = self.manifest["files"]
        self.unread = set(self.files)

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise Failure(f"{path} is missing: the manifest does not list it")
        with open(os.path.join(self.root, *path.split("/")), "rb") as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != self.files[path]:
            raise Failure(f"{path} differs from the manifest")
        self.unread.discard(path)
        return data

    def check_names(self) -> None:
        """Holds what is in the folder to what is listed: regular files only, none missing, none added."""
        found = set()
        for folder, names, files in os.walk(self.root, onerror=_raise):
            for name in [*names, *files]:
                path = os.path.join(folder, name)
                mode = os.lstat(path).st_mode
                if not (stat.S_ISREG(mode) if name in files else stat.S_ISDIR(mode)):
                    raise Failure(f"{path} is neither a file nor a folder")
                if name in files:
                    found.add(os.path.relpath(path, self.root).replace(os.sep, "/"))
        found.discard("manifest.json")
        for path in sorted(set(self.files) - found)[:1]:
            raise Failure(f"{path} is missing")
        for path in sorted(found - set(self.files))[:1]:
            raise Failure(f"{path} is not listed in the manifest")

    def _read_manifest(self) -> dict[str, Any]:
        with open(os.path.join(self.root, "manifest.json"), "rb") as file:
            data = file.read()
        manifest = read_json(data, "the manifest")
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or canonical_manifest(manifest) != data:
            raise Failure(f"the manifest is not that of a bundle of the format {FORMAT}")
        unsealed = {name: value for name, value in manifest.items() if name != "sha256"}
        self.digest = hashlib.sha256(canonical_manifest(unsealed)).hexdigest()
        if manifest.get("sha256") != self.digest:
            raise Failure("the manifest is not what it was when it was written")
        files = manifest.get("files")
        if not isinstance(files, dict) or not all(isinstance(digest, str) for digest in files.values()):
            raise Failure("the manifest lists no files")
        return manifest


def _raise(error: OSError) -> NoReturn:
    raise error


def spans_of(manifest: dict[str, Any], size: int) -> tuple[range, range, list[int], list[int]]:
    """Returns from the manifest: the range asked for, that of the whole entry bundles around it, cited and context indices."""
    spans = []
    for name in ("range", "contained"):
        span = manifest.get(name)
        if not isinstance(span, list) or len(span) != 2 or any(type(n) is not int for n in span):
            raise Failure(f"the manifest's {name} is malformed")
        spans.append(range(*span))
    asked, contained = spans
    if not 0 <= asked.start <= asked.stop <= size:
        raise Failure("the range of the manifest is not within the checkpoint")
    around = range(asked.start // WIDTH * WIDTH, min(-(-asked.stop // WIDTH) * WIDTH, size)) if asked else asked
    if (contained.start, contained.stop) != (around.start, around.stop):
        raise Failure("the manifest contains other entries than the whole entry bundles of its range")
    lists = []
    for name in ("cited", "context"):
        indexes = manifest.get(name)
        if name == "cited" and indexes == "all":
            indexes = list(asked)
        if not isinstance(indexes, list) or any(type(i) is not int for i in indexes) or sorted(set(indexes)) != indexes:
            raise Failure(f"the manifest's {name} entries are malformed")
        lists.append(indexes)
    cited, context = lists
    if any(i not in asked for i in cited) or any(not 0 <= i < size for i in context):
        raise Failure("the manifest names an entry that is out of range")
    return asked, contained, cited, context


class Tree:
    """The hashes in the bundle's tiles, none of which is believed before it leads to the checkpoint's root."""

    def __init__(self, folder: Folder, head: Checkpoint, contained: range) -> None:
        self.folder, self.size = folder, head.size
        levels = [level for level in range(8) if head.size >> 8 * level]
        edge = [(level, (head.size >> 8 * level) // WIDTH) for level in reversed(levels) if (head.size >> 8 * level) % WIDTH]
        needed = {(0, index) for index in range(contained.start // WIDTH, -(-contained.stop // WIDTH))} if contained else set()
        for level in levels:  # every full tile has its root in the tile above
            needed |= {(level + 1, index // WIDTH) for at, index in needed if at == level and self.width(level, index) == WIDTH}
        self.needed = needed | set(edge) if contained else needed
        self.known: dict[tuple[int, int], list[bytes]] = {}
        if contained:
            self.known = {place: self._read(*place) for place in edge}
            if fold([peak for place in edge for peak in peaks_of(self.known[place])]) != head.root:
                raise Failure("the tiles do not lead to the root of the checkpoint")

    def width(self, level: int, index: int) -> int:
        return min(WIDTH, (self.size >> 8 * level) - index * WIDTH)

    def paths(self) -> set[str]:
        return {tile_path(str(level), index, self.width(level, index)) for level, index in self.needed}

    def tile(self, level: int, index: int) -> list[bytes]:
        if (level, index) not in self.known:
            hashes = self._read(level, index)
            if fold(peaks_of(hashes)) != self.tile(level + 1, index // WIDTH)[index % WIDTH]:
                raise Failure(f"{tile_path(str(level), index, WIDTH)} does not belong to the tree of the checkpoint")
            if level == 0:
                return hashes
            self.known[level, index] = hashes
        return self.known[level, index]

    def _read(self, level: int, index: int) -> list[bytes]:
        width = self.width(level, index)
        data = self.folder.read(tile_path(str(level), index, width))
        if len(data) != 32 * width:
            raise Failure("a tile has not the length that its name says")
        return [data[at : at + 32] for at in range(0, len(data), 32)]


def read_bundle(folder: Folder, index: int, size: int) -> list[bytes]:
    width = min(WIDTH, size - index * WIDTH)
    data, entries, at = folder.read(tile_path("entries", index, width)), [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        entries.append(data[at + 2 : end])
        at = end
    if at != len(data) or len(entries) != width:
        raise Failure(f"{tile_path('entries', index, width)} does not consist of {width} whole entries")
    return entries


# ---- entries: what they say, and who signed them ----------------------------------------------------------------------


@dataclass
class Session:
    next_seq: int = 0
    last_index: int = -1
    has_begun: bool = False  # its first entry is shown, so whether it has a key of its own is known
    key_id: str = ""
    key: Ed25519PublicKey | None = None


@dataclass
class Entries:
    """Follows the entries that the bundle shows, in the order of the log.

    Those of the range and of the context are checked in full. The others, which merely share an entry bundle with the range, are
    checked as far as the bundle shows what they depend on.
    """

    log_keys: LogKeys
    asked: range
    contained: range
    context: set[int]
    problems: list[str] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    intents: dict[str, tuple[int, str]] = field(default_factory=dict)  # id: index, then "", "given up" or "closed"
    policies: set[str] = field(default_factory=set)
    signed: dict[str, int] = field(default_factory=lambda: {"session": 0, "log": 0, "revoked": 0, "none": 0})
    outcomes: int = 0
    last_time: str = ""
    first_times: dict[int, str] = field(default_factory=dict)

    def take(self, index: int, data: bytes) -> None:
        try:
            entry = read_entry(data)
            is_full = index in self.asked or index in self.context
            version = entry.get("v")
            if (
                type(version) is not int
                or version not in (1, 2)
                or (version == 1 and self.signed["session"] + self.signed["log"])
            ):
                raise Failure("its format is not version 2")
            entry_id = entry.get("id")
            if not isinstance(entry_id, str) or not re.fullmatch(r"[0-9a-f]{32}", entry_id, re.ASCII):
                raise Failure("its id is not 32 hexadecimal digits")
            if version == 2 and int(entry_id[:16], 16) != index:
                raise Failure("its id is that of another place in the log")
            if entry.get("type") in KEY_CHANGES and index not in self.context:
                raise Failure("it changes the log's keys, but is not among the context entries")
            self._stamps(index, entry)
            session = self._session(index, entry, is_full)
            if version == 2:
                self._signature(index, entry, session, is_full)
            else:
                self.signed["none"] += 1
            self._link(index, entry, entry_id, is_full)
            if is_full:
                self._policy(entry)
        except Failure as failure:
            self.problems.append(f"entry {index}: {failure}")

    def _stamps(self, index: int, entry: dict[str, Any]) -> None:
        time = entry.get("time")
        digits = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z", str(time), re.ASCII)
        try:
            datetime(*map(int, digits.groups() if digits else ()))  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise Failure("its time is not RFC 3339 in UTC with microseconds") from error
        if str(time) < self.last_time:
            raise Failure("its time is before that of an earlier entry")
        self.last_time = self.first_times[index] = str(time)
        writer, commitments = entry.get("writer"), entry.get("commitments", {})
        if not isinstance(writer, dict) or {n: type(v) for n, v in writer.items()} != {"host": str, "pid": int, "start": str}:
            raise Failure("its writer is not host, pid and start")
        if not isinstance(commitments, dict) or not all(is_digest(value) for value in commitments.values()):
            raise Failure("its commitments are not SHA-256 digests")

    def _session(self, index: int, entry: dict[str, Any], is_full: bool) -> Session:
        name, seq = entry.get("session", ""), entry.get("seq")
        if not isinstance(name, str) or type(seq) is not int:
            raise Failure("its session or its place in it is malformed")
        session = self.sessions.setdefault(name, Session())
        is_seamless = self.contained.start <= session.last_index + 1 and index in self.contained
        hidden = 0 if is_seamless else index - session.last_index - 1  # entries between that the bundle does not show
        gap = seq - session.next_seq
        session.next_seq, session.last_index = seq + 1, index
        if not 0 <= gap <= hidden:
            raise Failure(f"its place in the session is {seq}, not {seq - gap}: an entry of the session is missing or doubled")
        if entry.get("type") == "key.bind":
            key = entry.get("key")
            if seq != 0 or not isinstance(key, dict) or key.get("algorithm") != "ed25519":
                raise Failure("it binds no Ed25519 key at the beginning of a session")
            public = strict_base64(key.get("public"))
            session.key, session.key_id = ed25519(public), hashlib.sha256(public).hexdigest()[:16]
            if key.get("id") != session.key_id:
                raise Failure("the key that it binds has another id")
        session.has_begun = session.has_begun or seq == 0
        if is_full and not session.has_begun:
            raise Failure("the first entry of its session is not shown, so nobody can tell which key the session has")
        return session

    def _signature(self, index: int, entry: dict[str, Any], session: Session, is_full: bool) -> None:
        sig = entry.get("sig")
        if not isinstance(sig, dict) or set(sig) != {"key", "ed25519"}:
            raise Failure("it is not signed")
        by_log = [key for key in self.log_keys.keys if key.entry_id == sig["key"]]
        if session.key is not None and sig["key"] == session.key_id:
            public, kind = session.key, "session"
        elif by_log and (session.key is None or entry.get("type") == "outcome.unknown"):
            public, kind = ed25519(by_log[0].public), "log"
            if index + 1 >= self.log_keys.revoked_from.get(by_log[0], 2**63):
                kind = "revoked"  # the tree, which another key signed, still vouches for the entry
            elif not self.log_keys.signs_for(by_log[0], index + 1):
                raise Failure("it is signed with a key that the log did not have then")
        elif is_full or session.has_begun:
            raise Failure("it is signed with a key that has no say in its session")
        else:
            return
        message = CONTEXT + canonical_entry({name: value for name, value in entry.items() if name != "sig"})
        if not holds(public, strict_base64(sig["ed25519"]), message):
            raise Failure("its signature does not hold")
        self.signed[kind] += 1

    def _link(self, index: int, entry: dict[str, Any], entry_id: str, is_full: bool) -> None:
        kind = entry.get("type")
        if kind == "intent":
            self.intents[entry_id] = (index, "")
        if not isinstance(kind, str) or not (kind == "outcome" or kind.startswith("outcome.")):
            return
        intent = entry.get("intent")
        if not isinstance(intent, str) or intent not in self.intents:
            if is_full:
                raise Failure("it is the outcome of an intent that is not shown before it")
            return
        at, state = self.intents[intent]
        if state == "closed" or (state and kind == "outcome.unknown"):
            raise Failure("it is a second outcome of one intent")
        self.intents[intent] = (at, "given up" if kind == "outcome.unknown" else "closed")
        self.outcomes += 1

    def _policy(self, entry: dict[str, Any]) -> None:
        decision = entry.get("decision")
        named = [decision.get("policy")] if isinstance(decision, dict) else []
        named += [entry.get("policy")] if entry.get("type") == "key.bind" else []
        self.policies |= {str(digest) for digest in named if is_digest(digest)}


def is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value, re.ASCII) is not None


# ---- the whole verification -------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What was found. `problems` is empty exactly where everything was verified."""

    bundle: str
    problems: list[str] = field(default_factory=list)
    proven: list[str] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_verified(self) -> bool:
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Returns the report for JSON."""
        proven = self.proven if self.is_verified else []
        lists = {"problems": self.problems[:MAX_SHOWN], "proven": proven, "not_proven": self.not_proven}
        return {"verified": self.is_verified, "bundle": self.bundle, "problem_count": len(self.problems), **lists, **self.facts}


def check(
    bundle: str, keys: Sequence[str], since: str = "", witnesses: Sequence[str] = (), quorum: int | None = None
) -> Report:
    """Verifies a bundle.

    Args:
        bundle: The folder.
        keys: Texts of verifier keys, at least one of which is the log's; they come from elsewhere.
        since: An earlier checkpoint of the log that the auditor kept, as a signed note; empty where there is none.
        witnesses: Texts of the verifier keys of witnesses.
        quorum: How many of them must have cosigned; by default all.

    Raises:
        Usage: There is no key, or one is malformed; there is no such folder; the earlier checkpoint is not a signed note.
    """
    trusted, named = _keys(keys, 1, "--key"), _keys(witnesses, 4, "--witness")
    if not trusted:
        raise Usage(
            "--key is missing: a key that comes with the bundle proves nothing, so you must know the log's key from elsewhere"
        )
    if quorum is not None and not 1 <= quorum <= len(named):
        raise Usage("--quorum is from 1 to the number of --witness keys")
    if not os.path.isdir(bundle):
        raise Usage(f"{bundle} is not a folder")
    report = Report(bundle)
    try:
        _check(report, trusted, since, named, len(named) if quorum is None else quorum)
    except Failure as failure:
        report.problems.append(str(failure))
    except OSError as error:
        report.problems.append(f"a file cannot be read: {error}")
    return report


def _check(report: Report, trusted: list[Key], since: str, witnesses: list[Key], quorum: int) -> None:
    folder = Folder(report.bundle)
    folder.check_names()
    note = text_of(folder.read("checkpoint"), "the checkpoint")
    head = Checkpoint.parse(open_note(note, [])[0])
    manifest = folder.manifest
    if (manifest.get("origin"), manifest.get("size"), manifest.get("root")) != (head.origin, head.size, base64_text(head.root)):
        raise Failure("the manifest is of another checkpoint")
    asked, contained, cited, context = spans_of(manifest, head.size)
    outside = _outside(folder, [index for index in context if index not in contained])

    log_keys = _log_keys(folder, head, outside, context, trusted)
    _, signers = open_note(note, [*log_keys.keys, *witnesses])
    signed_by = [key for key in log_keys.keys if key in signers and log_keys.signs_for(key, head.size)]
    if head.origin != log_keys.current.name or not signed_by:
        raise Failure("the checkpoint is not signed by the trusted key, nor by one that the trusted key leads to")
    report.proven.append(f"the checkpoint of {head.origin} with {head.size} entries is signed by {_key_list(signed_by)}")
    if not any(key in trusted for key in signed_by):
        report.proven.append(f"the trusted key leads to that key through {len(log_keys.keys) - 1} rotation(s) in the log")
    _check_witnesses(report, signers, witnesses, quorum)
    _check_since(report, folder, head, log_keys, since)

    tree = Tree(folder, head, contained)
    entries = Entries(log_keys, asked, contained, set(context))
    proofs = set(cited) | set(context)
    for index, data, hashed in _shown(folder, tree, contained, outside):
        digest = leaf_hash(data)
        if hashed is not None and hashed != digest:
            entries.problems.append(f"entry {index}: it was changed: the tree has another hash for it")
        if index in proofs:
            try:
                _check_proof(folder, index, digest, head, note)
            except Failure as failure:
                entries.problems.append(f"entry {index}: {failure}")
        entries.take(index, data)
    _check_times(manifest, asked, head.size, entries)
    _check_policies(report, folder, manifest, entries)
    for path in sorted(folder.unread):
        folder.read(path)
    bundles = range(contained.start // WIDTH, -(-contained.stop // WIDTH)) if contained else range(0)
    expected = tree.paths() | {f"proofs/{index}.tlog-proof" for index in proofs}
    expected |= {tile_path("entries", index, min(WIDTH, head.size - index * WIDTH)) for index in bundles}
    expected |= {"checkpoint", "context.jsonl", "keys.json", "README.txt", "verify.py"}
    expected |= {"consistency"} if manifest.get("since") is not None else set()
    for path in sorted(set(folder.files) - expected):
        if not path.startswith("policies/"):
            raise Failure(f"{path} is not part of such a bundle")
    for path in sorted(expected - set(folder.files)):
        raise Failure(f"{path} is missing")
    report.problems += entries.problems
    _tell(report, folder, head, log_keys, entries, cited)


def _outside(folder: Folder, indexes: list[int]) -> dict[int, bytes]:
    """Returns the context entries that no entry bundle of the folder holds."""
    data = folder.read("context.jsonl")
    lines = data.split(b"\n")
    if lines.pop() or len(lines) != len(indexes):
        raise Failure("context.jsonl has not one line for each context entry outside of the entry bundles")
    return dict(zip(indexes, lines))


def _log_keys(folder: Folder, head: Checkpoint, outside: dict[int, bytes], context: list[int], trusted: list[Key]) -> LogKeys:
    changes = []
    for index in context:
        data = outside[index] if index in outside else read_bundle(folder, index // WIDTH, head.size)[index % WIDTH]
        if b'"key.r' in data:
            entry = read_entry(data)
            if entry.get("type") in KEY_CHANGES:
                changes.append((index, entry))
    rotations = [entry for _, entry in changes if entry["type"] == "key.rotate"]
    # Where the log's key changed, the history begins with the oldest one; the keys endorse each other in both directions.
    history = LogKeys(
        Key.parse(rotations[0].get("old"))
        if rotations
        else _own(trusted, head.origin, text_of(folder.read("checkpoint"), "it"))
    )
    for index, entry in changes:
        try:
            history.change(index, entry)
        except Failure as failure:
            raise Failure(f"entry {index}: {failure}") from failure
    if not any(key in trusted for key in history.keys):
        raise Failure("the log's keys do not include the trusted key")
    return history


def _own(trusted: list[Key], origin: str, note: str) -> Key:
    for key in trusted:
        if key.name == origin and f"\u2014 {key.name} {base64_text(key.hash)[:5]}" in note:
            return key
    raise Failure(f"the checkpoint of {origin} is not signed by the trusted key, and the log does not lead from it to another")


def _check_witnesses(report: Report, signers: dict[Key, int | None], witnesses: list[Key], quorum: int) -> None:
    found = {key: signers[key] for key in witnesses if key in signers}
    if len(found) < quorum:
        missing = ", ".join(key.name for key in witnesses if key not in found)
        raise Failure(f"{len(found)} of the witnesses cosigned the checkpoint, {quorum} must have; missing: {missing}")
    report.facts["witnesses"] = [{"name": key.name, "time_s": time_s} for key, time_s in found.items()]
    if witnesses:
        names = ", ".join(f"{key.name} (POSIX time {time_s})" for key, time_s in found.items())
        report.proven.append(
            f"{len(found)} of {len(witnesses)} witnesses saw this checkpoint grow from all earlier ones: {names}"
        )
    else:
        report.not_proven.append(
            "no witness was given: whoever holds the log's key could have made a second history, with entries left out or others"
        )


def _check_since(report: Report, folder: Folder, head: Checkpoint, log_keys: LogKeys, since: str) -> None:
    proof: list[bytes] = []
    said = folder.manifest.get("since")
    if said is not None:
        data = text_of(folder.read("consistency"), "the consistency proof")
        proof = [strict_base64(line) for line in data.split("\n")[:-1]]
        if (data and not data.endswith("\n")) or any(len(value) != 32 for value in proof):
            raise Failure("the consistency proof is malformed")
        if not isinstance(said, dict) or set(said) != {"size", "root"} or type(said["size"]) is not int:
            raise Failure("the manifest's earlier checkpoint is malformed")
        check_consistency(said["size"], head.size, strict_base64(said["root"]), head.root, proof)
    if not since:
        report.not_proven.append(
            "no earlier checkpoint was given (--since): that nothing was taken out of what you saw before is not shown"
        )
        return
    try:
        text, signers = open_note(since, log_keys.keys)
        earlier = Checkpoint.parse(text)
    except Failure as failure:
        raise Usage(f"--since: {failure}") from failure
    if earlier.origin != head.origin or not any(log_keys.signs_for(key, earlier.size) for key in signers):
        raise Failure("the earlier checkpoint is not signed by a key of this log")
    if 0 < earlier.size < head.size and (said is None or said["size"] != earlier.size):
        raise Failure(f"the bundle has no proof from your checkpoint of {earlier.size} entries; ask for one with --since")
    check_consistency(earlier.size, head.size, earlier.root, head.root, proof if 0 < earlier.size < head.size else [])
    report.facts["since"] = earlier.size
    report.proven.append(f"the log still contains, unchanged, the {earlier.size} entries of the checkpoint you gave")


def _shown(
    folder: Folder, tree: Tree, contained: range, outside: dict[int, bytes]
) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Yields index, bytes and, where a tile has it, hash of every entry in the bundle, in the order of the log."""
    for index in sorted(i for i in outside if i < contained.start):
        yield index, outside[index], None
    for at in range(contained.start // WIDTH, -(-contained.stop // WIDTH)) if contained else ():
        entries = read_bundle(folder, at, tree.size)
        for index, (data, hashed) in enumerate(zip(entries, tree.tile(0, at)), at * WIDTH):
            yield index, data, hashed
    for index in sorted(i for i in outside if i >= contained.start):
        yield index, outside[index], None


def _check_proof(folder: Folder, index: int, digest: bytes, head: Checkpoint, note: str) -> None:
    """Checks one C2SP tlog-proof, which must carry the bundle's own checkpoint."""
    path = f"proofs/{index}.tlog-proof"
    text = text_of(folder.read(path), path)
    before, after = f"c2sp.org/tlog-proof@v1\nindex {index}\n", f"\n{note}"
    if not text.startswith(before) or not text.endswith(after) or len(text) < len(before) + len(after):
        raise Failure(f"{path} is not a proof of this entry to the bundle's checkpoint")
    lines = text[len(before) : len(text) - len(after)].split("\n")
    if lines.pop():
        raise Failure(f"{path} is malformed")
    proof = [strict_base64(line) for line in lines]
    if any(len(value) != 32 for value in proof):
        raise Failure(f"{path} has a hash that is not 32 bytes")
    check_inclusion(digest, index, head.size, proof, head.root)


def _check_times(manifest: dict[str, Any], asked: range, size: int, entries: Entries) -> None:
    """Where the range was asked for by time: its entries are within it, and the neighbours on both sides are not."""
    if manifest.get("times") is None:
        return
    times = manifest["times"]
    if not isinstance(times, dict) or set(times) != {"from", "to"}:
        raise Failure("the manifest's times are malformed")
    begin, end = str(times["from"] or ""), str(times["to"] or "9999")
    for index, must_be_before in ((asked.start - 1, True), (asked.start, False), (asked.stop - 1, False), (asked.stop, True)):
        if not 0 <= index < size or (index not in asked and not must_be_before):
            continue
        if index not in entries.first_times:
            raise Failure(f"entry {index}, beside the range, is missing: that the range is complete in time cannot be seen")
        is_within = begin <= entries.first_times[index] < end
        if is_within is must_be_before:
            raise Failure(f"the range is not that of the times it was asked for: see entry {index}")


def _check_policies(report: Report, folder: Folder, manifest: dict[str, Any], entries: Entries) -> None:
    held = {path for path in folder.files if path.startswith("policies/")}
    for path in sorted(held):
        digest = path[len("policies/") : -len(".json")]
        if path != f"policies/{digest}.json" or digest not in entries.policies:
            raise Failure(f"{path} is no policy that an entry names")
        if hashlib.sha256(folder.read(path)).hexdigest() != digest:
            raise Failure(f"{path} is not the policy that its name says")
    missing = sorted(digest for digest in entries.policies if f"policies/{digest}.json" not in held)
    if manifest.get("policies_missing") != missing:
        raise Failure("the manifest does not say which policies are missing")
    report.facts["policies"] = {"held": len(held), "missing": missing}
    if held:
        report.proven.append(f"{len(held)} policy text(s) are those that the entries name as in force")
    if missing:
        report.not_proven.append(f"the text of {len(missing)} policy(s) in force is not in the bundle: {', '.join(missing)}")


def _tell(report: Report, folder: Folder, head: Checkpoint, log_keys: LogKeys, entries: Entries, cited: list[int]) -> None:
    asked, signed = entries.asked, entries.signed
    times = [entries.first_times.get(index, "") for index in ((asked.start, asked.stop - 1) if asked else ())]
    open_intents = [(index, state) for index, state in entries.intents.values() if index in asked and state != "closed"]
    unknown = sorted(index for index, _ in open_intents)
    report.facts.update(
        origin=head.origin,
        size=head.size,
        root=base64_text(head.root),
        range=[asked.start, asked.stop],
        contained=[entries.contained.start, entries.contained.stop],
        cited=len(cited),
        times=times,
        signatures=signed,
        outcomes=entries.outcomes,
        unknown=unknown,
        manifest_sha256=folder.digest,
        keys=[str(key) for key in log_keys.keys],
    )
    if asked:
        span = f"entries {asked.start} to {asked.stop - 1} ({len(asked)}, from {times[0]} to {times[1]})"
        report.proven.append(
            f"{span} are in the log at these places, all of them, unchanged; {len(cited)} are cited with proofs"
        )
    else:
        report.proven.append(f"no entry lies between {asked.start} and {asked.stop}")
    asked_times = folder.manifest.get("times")
    if asked_times is not None:
        end = f"before {asked_times['to']}" if asked_times["to"] else "up to the checkpoint"
        report.proven.append(f"these are all entries from {asked_times['from'] or 'the beginning'} on, {end}")
    report.proven.append(
        f"{signed['session']} entries are signed with keys of sessions, {signed['log']} with the log's own key"
    )
    report.proven.append(
        f"sessions have no gaps within the entries shown, times never go back, {entries.outcomes} outcomes have intents"
    )
    if unknown:
        listed = ", ".join(map(str, unknown[:20])) + (", …" if len(unknown) > 20 else "")
        report.not_proven.append(f"{len(unknown)} intent(s) have no known outcome, what they did is unknown: entry {listed}")
    if signed["revoked"]:
        report.not_proven.append(
            f"{signed['revoked']} entries are signed with a key that was revoked: only the tree vouches for them"
        )
    if signed["none"]:
        report.not_proven.append(
            f"{signed['none']} entries are of format 1 and carry no signature: only the tree vouches for them"
        )
    if len(entries.contained) < head.size:
        report.not_proven.append(
            "entries that are not shown: nothing is said of them, nor that no later one changes the log's keys"
        )


def _keys(texts: Sequence[str], kind: int, option: str) -> list[Key]:
    try:
        keys = [Key.parse(text) for text in texts]
    except Failure as failure:
        raise Usage(f"{option}: {failure}") from failure
    if any(key.kind != kind for key in keys) or len({key.public for key in keys}) < len(keys):
        raise Usage(
            f"{option}: a key is given twice, or is of the wrong kind (a log's begins with AQ after the second +, a witness's with BA)"
        )
    return keys


def _key_list(keys: Sequence[Key]) -> str:
    return ", ".join(f"{key.name}+{key.hash.hex()}" for key in keys)


# ---- the command line -------------------------------------------------------------------------------------------------


def _given(value: str, bundle: str, option: str) -> str:
    """Returns a key's text, or that in a file, which must not lie in the bundle."""
    if "+" in value and not os.path.exists(value):
        return value
    return _file(value, bundle, option).rstrip("\n")


def _file(path: str, bundle: str, option: str) -> str:
    inside = os.path.realpath(bundle)
    if os.path.commonpath([inside, os.path.realpath(path)]) == inside:
        raise Usage(f"{option}: {path} lies in the bundle, so it proves nothing about it")
    try:
        with open(path, "rb") as file:
            return file.read(1_000_001).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{option}: {path} cannot be read as text") from error


def printable(text: str) -> str:
    # Names and texts in the bundle come from others: no control sequence of theirs reaches the terminal.
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="verify.py", description="Verifies a folder of evidence from a ledger.")
    parser.add_argument("bundle", metavar="BUNDLE", help="the folder")
    parser.add_argument(
        "--key", action="append", default=[], metavar="TEXT_OR_FILE", help="the log's verifier key, from elsewhere"
    )
    parser.add_argument("--since", metavar="FILE", help="the last checkpoint of this log that you kept")
    parser.add_argument("--witness", action="append", default=[], metavar="TEXT_OR_FILE", help="a witness's verifier key")
    parser.add_argument("--quorum", type=int, metavar="N", help="how many of the witnesses must have cosigned; by default all")
    parser.add_argument("--json", action="store_true", help="write JSON")
    try:
        given = parser.parse_args(arguments)
        keys = [_given(value, given.bundle, "--key") for value in given.key]
        witnesses = [_given(value, given.bundle, "--witness") for value in given.witness]
        since = _file(given.since, given.bundle, "--since") if given.since else ""
        report = check(given.bundle, keys, since, witnesses, given.quorum)
    except Usage as error:
        print(printable(f"error: {error}"), file=sys.stderr)
        return 2
    except SystemExit as error:  # argparse has said what is wrong, or printed its help
        return error.code if isinstance(error.code, int) else 2
    if given.json:
        print(json.dumps(report.to_dict(), indent=1))
        return 0 if report.is_verified else 1
    lines = ["VERIFIED" if report.is_verified else f"NOT VERIFIED: {len(report.problems)} problem(s)"]
    lines += [f"  wrong: {problem}" for problem in report.problems[:MAX_SHOWN]]
    lines += [f"  proven: {line}" for line in report.proven if report.is_verified]
    lines += [f"  not proven: {line}" for line in report.not_proven]
    lines += [f"  manifest: sha256 {report.facts['manifest_sha256']}"] if "manifest_sha256" in report.facts else []
    print(printable("\n".join(lines)))
    return 0 if report.is_verified else 1


if __name__ == "__main__":
    sys.exit(main())
