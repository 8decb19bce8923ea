#!/usr/bin/env python3
"""Verifies a folder of evidence that was exported from a ledger. One file, made to be read before it is trusted.

    python -I verify.py BUNDLE --key KEY [--since CHECKPOINT] [--witness KEY ... --quorum N] [--json]

It needs Python 3.9 or later and the package `cryptography`; it connects to nothing and writes nothing. KEY is the log's verifier key,
as text or as a file, which must have come to you by another way than with the bundle: a key inside the bundle is never trusted.
Exit status: 0 everything was verified, 1 something was changed or is missing, 2 wrong usage.

The formats: Merkle tree and proofs of RFC 6962 / RFC 9162; signed-note, tlog-checkpoint, tlog-tiles, tlog-proof and tlog-cosignature
of https://c2sp.org; entries in canonical JSON (a profile of RFC 8785), each with an Ed25519 signature. Of anything that is read, only
the one canonical form is accepted.
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
from datetime import datetime, timezone
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["FORMAT", "Failure", "Folder", "Report", "Usage", "canonical_manifest", "check", "main", "read_entry"]

FORMAT = "guardrails-evidence/1"
WIDTH = 256  # hashes in a full tile, entries in a full entry bundle
MAX_SIZE = 2**63 - 1
CONTEXT = b"guardrails ledger entry v2\n"  # stands before an entry's bytes in what is signed
KEY_CHANGES = ("key.rotate", "key.retire", "key.revoke")
FIELD = 2**255 - 19

Json = dict[str, Any]


class Failure(Exception):
    """The bundle was changed, is incomplete or contradicts itself."""


class Usage(Exception):
    """What was asked for cannot be done."""


def need(is_so: object, otherwise: str) -> None:
    if not is_so:
        raise Failure(otherwise)


# ---- texts ------------------------------------------------------------------------------------------------------------


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def strict_base64(text: Any) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise Failure("a text is not base64") from error
    need(base64_text(data) == text, "a base64 text is not in its canonical form")
    return data


def is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def read_json(data: bytes, what: str) -> Any:
    def refuse(_number: str) -> NoReturn:
        raise ValueError("a number that is no integer")

    try:
        return json.loads(data.decode("utf-8"), parse_float=refuse, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Failure(f"{what} is not JSON of the expected kind") from error


def canonical(entry: Json) -> bytes:
    return json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")


def is_in_profile(value: Any, depth: int = 1) -> bool:
    """Tells whether a value has ASCII keys, no integers beyond 2^53, and not more than 32 levels."""
    if isinstance(value, dict):
        return depth <= 32 and all(name.isascii() and is_in_profile(item, depth + 1) for name, item in value.items())
    if isinstance(value, list):
        return depth <= 32 and all(is_in_profile(item, depth + 1) for item in value)
    return type(value) is not int or abs(value) <= 2**53


def read_entry(data: bytes) -> Json:
    need(len(data) <= 65_535, "it is larger than 64 KiB")
    entry = read_json(data, "it")
    need(isinstance(entry, dict) and is_in_profile(entry), "it is outside of the profile of JSON for entries")
    encoded = canonical(entry)
    need(encoded == data and encoded.decode("utf-8", "replace").encode() == data, "it is not in canonical form")
    return dict(entry)


def canonical_manifest(manifest: Json) -> bytes:
    """Returns the manifest's bytes; its field `sha256` is the digest of these bytes without that field."""
    return (json.dumps(manifest, sort_keys=True, indent=1) + "\n").encode("ascii")


# ---- the Merkle tree (RFC 6962, section 2.1) --------------------------------------------------------------------------


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def peaks_of(hashes: list[bytes]) -> list[bytes]:
    """Returns the roots of the complete subtrees that a row of hashes consists of, the largest first."""
    peaks: list[bytes] = []
    while hashes:
        width = 1 << (len(hashes).bit_length() - 1)
        row, hashes = hashes[:width], hashes[width:]
        while len(row) > 1:
            row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
        peaks += row
    return peaks


def fold(peaks: list[bytes]) -> bytes:
    """Returns the root over complete subtrees, the largest first."""
    root = peaks[-1] if peaks else hashlib.sha256(b"").digest()
    for left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def half_of(size: int) -> int:
    """Returns the size of a tree's left half: the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def included_root(proof: list[bytes], leaf: bytes, index: int, size: int) -> bytes:
    """Returns the root that an inclusion proof leads to; takes from the proof what it uses (section 2.1.1)."""
    if size == 1:
        return leaf
    half, sibling = half_of(size), proof.pop()
    if index < half:
        return node_hash(included_root(proof, leaf, index, half), sibling)
    return node_hash(sibling, included_root(proof, leaf, index - half, size - half))


def consistent_roots(proof: list[bytes], old: int, size: int, old_root: bytes, is_left: bool = True) -> tuple[bytes, bytes]:
    """Returns the roots of the old and the new tree that a consistency proof leads to; takes what it uses (section 2.1.2)."""
    if old == size:
        known = old_root if is_left else proof.pop()
        return known, known
    half, sibling = half_of(size), proof.pop()
    if old <= half:
        before, now = consistent_roots(proof, old, half, old_root, is_left)
        return before, node_hash(now, sibling)
    before, now = consistent_roots(proof, old - half, size - half, old_root, False)
    return node_hash(sibling, before), node_hash(sibling, now)


def read_proof(text: str) -> list[bytes]:
    hashes = [strict_base64(line) for line in text.split("\n")[:-1]]
    need((not text or text.endswith("\n")) and all(len(value) == 32 for value in hashes), "a proof is malformed")
    return hashes


# ---- keys, signed notes and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature) -------------------------


def ed25519(public: bytes) -> Ed25519PublicKey:
    """Returns a key, unless it is one under which anybody can sign (a point of small order) or has a second spelling."""
    y = int.from_bytes(public, "little") & (2**255 - 1)
    d = -121665 * pow(121666, -1, FIELD) % FIELD
    is_order_eight = (2 * y * y - 1 + d * y**4) % FIELD == 0  # twice such a point has y = 0
    need(
        len(public) == 32 and y < FIELD and y not in (0, 1, FIELD - 1) and not is_order_eight, "a key is not a safe Ed25519 key"
    )
    return Ed25519PublicKey.from_public_bytes(public)


def holds(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def is_name(name: str) -> bool:
    return bool(name) and not any(c == "+" or c < " " or c.isspace() or "\ud800" <= c <= "\udfff" for c in name)


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
        key = cls(name, data[0] if data else 0, data[1:])
        need(is_name(name) and key.kind in (1, 4) and str(key) == text, "a verifier key is malformed or not of Ed25519")
        ed25519(key.public)
        return key

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64_text(bytes([self.kind]) + self.public)}"

    def has_signed(self, signature: bytes, message: bytes) -> bool:
        return holds(ed25519(self.public), signature, message)


def open_note(note: str, keys: Iterable[Key]) -> tuple[str, dict[Key, int]]:
    """Returns a note's text, and who of `keys` signed it; for cosignatures with the POSIX time that they state, else 0."""
    body, separator, tail = note.rpartition("\n\n")
    text = body + "\n"
    need(separator and tail.endswith("\n") and tail.count("\n") <= 100 and len(note) <= 1_000_000, "a signed note is malformed")
    need(body and not any((c < " " and c != "\n") or "\ud800" <= c <= "\udfff" for c in text), "a signed note is malformed")
    known = {(key.name, key.hash): key for key in keys}
    signers: dict[Key, int] = {}
    for line in tail[:-1].split("\n"):
        mark, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        signature = strict_base64(encoded)
        need(mark == "\u2014" and is_name(name) and len(signature) > 4, "a signature line of a note is malformed")
        key = known.get((name, signature[:4]))
        if key is None:
            continue
        time_s, message = 0, text
        if key.kind == 4:
            time_s = int.from_bytes(signature[4:12], "big")
            message = f"cosignature/v1\ntime {time_s}\n{text}"
        is_sound = len(signature) == (76 if key.kind == 4 else 68) and key not in signers
        need(is_sound and key.has_signed(signature[-64:], message.encode()), f"a signature of {name} does not hold")
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
        is_form = len(lines) > 3 and not lines[-1] and all(lines[:-1]) and re.fullmatch("0|[1-9][0-9]{0,18}", lines[1])
        need(is_form and is_name(lines[0]) and int(lines[1]) <= MAX_SIZE, "a checkpoint is malformed")
        found = cls(lines[0], int(lines[1]), strict_base64(lines[2]))
        need(len(found.root) == 32, "a checkpoint is malformed")
        return found


class LogKeys:
    """The log's own keys, as the entries that change them tell; each change is endorsed by the keys themselves."""

    def __init__(self, first: Key) -> None:
        self.keys = [first]
        self.valid_from = {first: 0}  # tree size, as are the next two
        self.retired_at: dict[Key, int] = {}
        self.revoked_from: dict[Key, int] = {}

    def signs_for(self, key: Key, size: int) -> bool:
        """Tells whether the key's word counts for a tree of this size."""
        return self.valid_from[key] <= size <= self.retired_at.get(key, MAX_SIZE) and size < self.revoked_from.get(key, 2**63)

    def change(self, index: int, entry: Json) -> None:
        kind, current = entry["type"], self.keys[-1]
        if kind == "key.rotate":
            old, new, endorsed = Key.parse(entry.get("old")), Key.parse(entry.get("new")), entry.get("endorsements")
            is_new = new.kind == 1 and all(new.public != key.public and new.hash != key.hash for key in self.keys)
            need(
                old == current and new.name == old.name and is_new and isinstance(endorsed, dict),
                "it does not follow the keys so far",
            )
            text = f"guardrails ledger key rotation v1\n{old.name}\n{old}\n{new}\n".encode()
            for key, who in ((old, "old"), (new, "new")):
                need(key.has_signed(strict_base64(dict(endorsed or {}).get(who)), text), f"the {who} key does not endorse it")
            self.keys.append(new)
            self.valid_from[new] = index + 1
            return
        key, size = Key.parse(entry.get("key")), entry.get("from_size")
        need(
            entry.get("signed_by") == str(current) and key != current and key in self.keys, "it does not follow the keys so far"
        )
        what, middle = ("retirement", "") if kind == "key.retire" else ("revocation", f"{size}\n")
        text = f"guardrails ledger key {what} v1\n{current.name}\n{key}\n{middle}{current}\n".encode()
        need(current.has_signed(strict_base64(entry.get("signature")), text), "the current key did not sign it")
        if kind == "key.retire":
            need(key not in self.retired_at and key not in self.revoked_from, "the key was retired or revoked before")
            self.retired_at[key] = index
        else:
            need(type(size) is int and 1 <= size <= index + 1, "it revokes from a tree size that cannot be")
            self.revoked_from[key] = min(int(size or 0), self.revoked_from.get(key, MAX_SIZE))


# ---- the folder: what the manifest lists, no more and no less ---------------------------------------------------------


def tile_path(kind: object, index: int, width: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    path = "/".join(["tile", str(kind), *("x" + part for part in parts[:-1]), parts[-1]])
    return path if width == WIDTH else f"{path}.p/{width}"


class Folder:
    """The bundle's files. Each is held to the manifest's digest whenever it is read; `check` reads each at least once."""

    def __init__(self, root: str) -> None:
        self.root = root
        with open(os.path.join(root, "manifest.json"), "rb") as file:
            data = file.read()
        self.manifest: Json = read_json(data, "the manifest")
        need(isinstance(self.manifest, dict) and self.manifest.get("format") == FORMAT, f"this is no bundle of {FORMAT}")
        rest = {name: value for name, value in self.manifest.items() if name != "sha256"}
        self.digest = hashlib.sha256(canonical_manifest(rest)).hexdigest()
        need(canonical_manifest({**rest, "sha256": self.digest}) == data, "the manifest is not what it was when it was written")
        need(isinstance(rest.get("files"), dict), "the manifest lists no files")
        self.files: dict[str, Any] = rest["files"]
        self.unread = set(self.files)

    def read(self, path: str) -> bytes:
        need(path in self.files, f"{path} is missing: the manifest does not list it")
        with open(os.path.join(self.root, *path.split("/")), "rb") as file:
            data = file.read()
        need(hashlib.sha256(data).hexdigest() == self.files[path], f"{path} differs from the manifest")
        self.unread.discard(path)
        return data

    def text(self, path: str) -> str:
        try:
            return self.read(path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Failure(f"{path} is not UTF-8 text") from error

    def entry_bundle(self, index: int, size: int) -> list[bytes]:
        width = min(WIDTH, size - index * WIDTH)
        data, entries, at = self.read(tile_path("entries", index, width)), [], 0
        while at < len(data):
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            entries.append(data[at + 2 : end])
            at = end
        need(at == len(data) and len(entries) == width, f"the entry bundle {index} does not consist of {width} whole entries")
        return entries

    def check_names(self) -> None:
        """Holds what is in the folder to what is listed: regular files and folders only, none missing, none added."""
        found = set()
        for folder, names, files in os.walk(self.root, onerror=_raise):
            for name in [*names, *files]:
                path = os.path.join(folder, name)
                mode = os.lstat(path).st_mode
                need(stat.S_ISREG(mode) if name in files else stat.S_ISDIR(mode), f"{path} is neither a file nor a folder")
            found |= {os.path.relpath(os.path.join(folder, name), self.root).replace(os.sep, "/") for name in files}
        listed = {*self.files, "manifest.json"}
        need(listed <= found, f"missing: {', '.join(sorted(listed - found)[:5])}")
        need(found <= listed, f"not listed in the manifest: {', '.join(sorted(found - listed)[:5])}")


def _raise(error: OSError) -> NoReturn:
    raise error


class Spans:
    """What the manifest says that the bundle is about: a range, whole entry bundles around it, cited and context entries."""

    def __init__(self, manifest: Json, size: int) -> None:
        numbers = [manifest.get(name) for name in ("range", "contained", "context")]
        numbers.append([] if manifest.get("cited") == "all" else manifest.get("cited"))
        for listed in numbers:
            need(isinstance(listed, list) and all(type(number) is int for number in listed), "the manifest is malformed")
        asked, contained, context, cited = (list(listed or []) for listed in numbers)
        need(len(asked) == 2 and 0 <= asked[0] <= asked[1] <= size, "the range of the manifest is not within the checkpoint")
        self.asked, self.tiles = range(*asked), range(0)
        if self.asked:
            self.tiles = range(asked[0] // WIDTH, -(-asked[1] // WIDTH))
            self.contained = range(self.tiles.start * WIDTH, min(self.tiles.stop * WIDTH, size))
        else:
            self.contained = self.asked
        need(
            contained == [self.contained.start, self.contained.stop],
            "the manifest contains other entries than around its range",
        )
        self.cited, self.context = set(self.asked if manifest.get("cited") == "all" else cited), set(context)
        is_sorted = sorted(self.context) == context and (sorted(self.cited) == cited or manifest.get("cited") == "all")
        is_within = self.cited <= set(self.asked) and all(0 <= index < size for index in context)
        need(is_sorted and is_within, "the manifest names entries out of order or out of range")


class Tree:
    """The hashes in the bundle's tiles, none of which is believed before it leads to the checkpoint's root."""

    def __init__(self, folder: Folder, head: Checkpoint, tiles: range) -> None:
        self.folder, self.size, self.known = folder, head.size, dict[tuple[int, int], list[bytes]]()
        self.paths: set[str] = set()
        if tiles:
            edge = [(level, head.size >> 8 * level + 8) for level in reversed(range(8)) if (head.size >> 8 * level) % WIDTH]
            self.known = {place: self._read(*place) for place in edge}
            is_tree = fold([peak for place in edge for peak in peaks_of(self.known[place])]) == head.root
            need(is_tree, "the tiles do not lead to the root of the checkpoint")

    def tile(self, level: int, index: int) -> list[bytes]:
        if (level, index) not in self.known:
            hashes = self._read(level, index)
            is_known = fold(peaks_of(hashes)) == self.tile(level + 1, index // WIDTH)[index % WIDTH]
            need(is_known, f"the tile {index} of level {level} does not belong to the tree of the checkpoint")
            self.known[level, index] = hashes
        return self.known[level, index] if level else self.known.pop((level, index))

    def _read(self, level: int, index: int) -> list[bytes]:
        width = min(WIDTH, (self.size >> 8 * level) - index * WIDTH)
        self.paths.add(tile_path(level, index, width))
        data = self.folder.read(tile_path(level, index, width))
        need(len(data) == 32 * width, "a tile has not the length that its name says")
        return [data[at : at + 32] for at in range(0, len(data), 32)]


# ---- entries: what they say, and who signed them ----------------------------------------------------------------------


@dataclass
class Session:
    next_seq: int = 0
    last_index: int = -1
    has_begun: bool = False  # its first entry is shown, so whether it has a key of its own is known
    key_id: str = ""
    key: Ed25519PublicKey | None = None


class Entries:
    """Follows the entries that the bundle shows, in the order of the log.

    Those of the range and of the context are checked in full; the others, which merely share an entry bundle with them, as far as the
    bundle shows what they depend on.
    """

    def __init__(self, log_keys: LogKeys, spans: Spans) -> None:
        self.log_keys, self.spans = log_keys, spans
        self.sessions: dict[str, Session] = {}
        self.intents: dict[str, tuple[int, str]] = {}  # by id: index, then "" or the type of its outcome
        self.policies: set[str] = set()
        self.signed = {"session": 0, "log": 0, "revoked": 0, "none": 0}
        self.outcomes, self.last_time, self.times = 0, "", dict[int, str]()

    def take(self, index: int, data: bytes) -> None:
        entry = read_entry(data)
        version, entry_id, kind = entry.get("v"), str(entry.get("id")), entry.get("type")
        is_full = index in self.spans.asked or index in self.spans.context
        is_first_format = type(version) is int and version == 1 and not self.signed["session"] + self.signed["log"]
        need(is_first_format or (type(version) is int and version == 2), "its format is not version 2")
        need(re.fullmatch("[0-9a-f]{32}", entry_id) and entry["id"] == entry_id, "its id is not 32 hexadecimal digits")
        need(is_first_format or int(entry_id[:16], 16) == index, "its id is that of another place in the log")
        need(kind not in KEY_CHANGES or index in self.spans.context, "it changes the log's keys, but is not in the context")
        self._stamps(index, entry)
        session = self._session(index, entry)
        need(session.has_begun or not is_full, "the first entry of its session is not shown, so the session's key is not known")
        if is_first_format:
            self.signed["none"] += 1
        elif is_full or session.has_begun:
            self._signature(index, entry, session)
        intent = entry.get("intent")
        if kind == "intent":
            self.intents[entry_id] = (index, "")
        elif kind == "outcome" or str(kind).startswith("outcome."):
            at, state = self.intents.get(str(intent), (-1, ""))
            need(at >= 0 or not is_full, "it is the outcome of an intent that is not shown before it")
            need(state in ("", "outcome.unknown") and (not state or kind != state), "it is a second outcome of one intent")
            self.intents[str(intent)] = (at, str(kind))
            self.outcomes += at >= 0
        decision = entry.get("decision") if is_full else None
        named = [
            decision.get("policy") if isinstance(decision, dict) else "",
            entry.get("policy") if kind == "key.bind" else "",
        ]
        self.policies |= {str(digest) for digest in named if is_full and is_digest(digest)}

    def _stamps(self, index: int, entry: Json) -> None:
        time, writer, commitments = entry.get("time"), entry.get("writer"), entry.get("commitments", {})
        digits = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z", str(time), re.ASCII)
        try:
            datetime(*map(int, digits.groups() if digits else ()), tzinfo=timezone.utc)  # type: ignore[arg-type, misc]
        except (TypeError, ValueError) as error:
            raise Failure("its time is not RFC 3339 in UTC with microseconds") from error
        need(str(time) >= self.last_time, "its time is before that of an earlier entry")
        self.last_time = str(time)
        if index in (self.spans.asked.start - 1, self.spans.asked.start, self.spans.asked.stop - 1, self.spans.asked.stop):
            self.times[index] = self.last_time
        fields = {name: type(value) for name, value in writer.items()} if isinstance(writer, dict) else {}
        need(fields == {"host": str, "pid": int, "start": str}, "its writer is not host, pid and start")
        is_sound = isinstance(commitments, dict) and all(map(is_digest, commitments.values()))
        need(is_sound, "its commitments are not SHA-256 digests")

    def _session(self, index: int, entry: Json) -> Session:
        name, seq = entry.get("session", ""), entry.get("seq")
        need(isinstance(name, str) and type(seq) is int, "its session or its place in it is malformed")
        session = self.sessions.setdefault(str(name), Session())
        is_seamless = self.spans.contained.start <= session.last_index + 1 and index in self.spans.contained
        hidden = 0 if is_seamless else index - session.last_index - 1  # at most so many entries between are not shown
        expected, session.next_seq, session.last_index = session.next_seq, int(seq or 0) + 1, index
        need(
            0 <= session.next_seq - 1 - expected <= hidden,
            f"its place in the session is {seq}, not {expected}: one is missing or double",
        )
        session.has_begun = session.has_begun or seq == 0
        if entry.get("type") == "key.bind":
            key = entry.get("key")
            need(seq == 0 and isinstance(key, dict), "it binds a key to a session that has begun")
            public = strict_base64(dict(key or {}).get("public"))
            session.key, session.key_id = ed25519(public), hashlib.sha256(public).hexdigest()[:16]
            is_said = dict(key or {}).get("algorithm") == "ed25519" and dict(key or {}).get("id") == session.key_id
            need(is_said, "the key that it binds is not what it says")
        return session

    def _signature(self, index: int, entry: Json, session: Session) -> None:
        sig = entry.get("sig")
        need(isinstance(sig, dict) and set(sig) == {"key", "ed25519"}, "it is not signed")
        named, signature = dict(sig or {})["key"], strict_base64(dict(sig or {})["ed25519"])
        by_log = [key for key in self.log_keys.keys if hashlib.sha256(key.public).hexdigest()[:16] == named]
        if session.key is not None and named == session.key_id:
            public, kind = session.key, "session"
        else:
            may_log = session.key is None or entry.get("type") == "outcome.unknown"  # a lost outcome, found by the log's owner
            need(by_log and may_log, "it is signed with a key that has no say in its session")
            public, kind = ed25519(by_log[0].public), "log"
            if index + 1 >= self.log_keys.revoked_from.get(by_log[0], 2**63):
                kind = "revoked"  # the tree, which another key signed, still vouches for the entry
            else:
                need(self.log_keys.signs_for(by_log[0], index + 1), "it is signed with a key that the log did not have then")
        message = CONTEXT + canonical({name: value for name, value in entry.items() if name != "sig"})
        need(holds(public, signature, message), "its signature does not hold")
        self.signed[kind] += 1


# ---- the whole verification -------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What was found. `problems` is empty exactly where everything was verified."""

    bundle: str
    problems: list[str] = field(default_factory=list)
    proven: list[str] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)
    facts: Json = field(default_factory=dict)

    @property
    def is_verified(self) -> bool:
        return not self.problems

    def to_dict(self) -> Json:
        """Returns the report for JSON."""
        said = {
            "proven": self.proven if self.is_verified else [],
            "not_proven": self.not_proven,
            "problems": self.problems[:100],
        }
        return {"verified": self.is_verified, "bundle": self.bundle, "problem_count": len(self.problems), **said, **self.facts}


def check(
    bundle: str, keys: Sequence[str], since: str = "", witnesses: Sequence[str] = (), quorum: int | None = None
) -> Report:
    """Verifies a bundle.

    Args:
        bundle: The folder.
        keys: Texts of verifier keys, at least one of which is the log's; they come from elsewhere.
        since: An earlier checkpoint of the log that the auditor kept, a signed note; empty where there is none.
        witnesses: Texts of the verifier keys of witnesses.
        quorum: How many of them must have cosigned; by default all.

    Raises:
        Usage: There is no key, or one is malformed; there is no such folder; the earlier checkpoint is not a signed note.
    """
    report = Report(bundle)
    try:
        trusted, cosigners = [Key.parse(text) for text in keys], [Key.parse(text) for text in witnesses]
        earlier = Checkpoint.parse(open_note(since, [])[0]) if since else None
    except Failure as failure:
        raise Usage(f"what was given is not usable: {failure}") from failure
    if not trusted:
        raise Usage(
            "--key is missing: a key found with the bundle proves nothing, so you must have the log's key from elsewhere"
        )
    if any(key.kind != 1 for key in trusted) or any(key.kind != 4 for key in cosigners) or len(set(cosigners)) < len(cosigners):
        raise Usage("a log's key begins with AQ after its second +, a witness's with BA, and each witness is named once")
    if not os.path.isdir(bundle) or (quorum is not None and not 1 <= quorum <= len(cosigners)):
        raise Usage("BUNDLE is a folder, and --quorum is from 1 to the number of witnesses")
    try:
        folder = Folder(bundle)
        folder.check_names()
        _check(report, folder, trusted, (since, earlier), cosigners, len(cosigners) if quorum is None else quorum)
    except Failure as failure:
        report.problems.append(str(failure))
    except OSError as error:
        report.problems.append(f"a file cannot be read: {error}")
    return report


def _check(
    report: Report, folder: Folder, trusted: list[Key], since: tuple[str, Checkpoint | None], witnesses: list[Key], quorum: int
) -> None:
    manifest, note = folder.manifest, folder.text("checkpoint")
    head = Checkpoint.parse(open_note(note, [])[0])
    said = [manifest.get(name) for name in ("origin", "size", "root")]
    need(
        said == [head.origin, head.size, base64_text(head.root)] and type(said[1]) is int,
        "the manifest is of another checkpoint",
    )
    spans = Spans(manifest, head.size)
    lines = folder.read("context.jsonl").split(b"\n")
    outside = sorted(index for index in spans.context if index not in spans.contained)
    need(
        not lines.pop() and len(lines) == len(outside),
        "context.jsonl has not one line for each entry outside of the entry bundles",
    )
    context = dict(zip(outside, lines))  # noqa: B905  equally long

    log_keys = _log_keys(folder, head, spans, context, trusted, note)
    _, signers = open_note(note, [*log_keys.keys, *witnesses])
    valid = [key for key in log_keys.keys if key in signers and log_keys.signs_for(key, head.size) and key.name == head.origin]
    need(valid, "the checkpoint is not signed by the trusted key, nor by one that the trusted key leads to")
    names = ", ".join(f"{key.name}+{key.hash.hex()}" for key in valid)
    report.proven.append(f"the checkpoint of {head.origin} with {head.size} entries is signed by {names}")
    if not set(valid) & set(trusted):
        report.proven.append(f"the trusted key leads to that key: {len(log_keys.keys) - 1} rotation(s) of keys are in the log")
    _check_witnesses(report, signers, witnesses, quorum)
    _check_since(report, folder, head, log_keys, *since)

    tree, entries, proofs = Tree(folder, head, spans.tiles), Entries(log_keys, spans), spans.cited | spans.context
    for index, data, hashed in _shown(folder, tree, spans, context):
        try:
            need(hashed in (None, leaf_hash(data)), "it was changed: the tree has another hash for it")
            if index in proofs:
                _check_proof(folder.text(f"proofs/{index}.tlog-proof"), index, data, head, note)
            entries.take(index, data)
        except Failure as failure:
            report.problems.append(f"entry {index}: {failure}")
    if report.problems:
        return
    _check_times(manifest.get("times"), spans.asked, head.size, entries.times)
    held = {path for path in folder.files if path.startswith("policies/")}
    for path in sorted(held):
        digest = hashlib.sha256(folder.read(path)).hexdigest()
        need(path == f"policies/{digest}.json" and digest in entries.policies, f"{path} is no policy that an entry names")
    missing = sorted(digest for digest in entries.policies if f"policies/{digest}.json" not in held)
    need(manifest.get("policies_missing") == missing, "the manifest does not say which policies are missing")
    expected = {"checkpoint", "context.jsonl", "keys.json", "README.txt", "verify.py"} | held | tree.paths
    expected |= {f"proofs/{index}.tlog-proof" for index in proofs} | ({"consistency"} if manifest.get("since") else set())
    expected |= {tile_path("entries", index, min(WIDTH, head.size - index * WIDTH)) for index in spans.tiles}
    strange = sorted(set(folder.files) ^ expected)
    need(not strange, f"missing, or not part of such a bundle: {', '.join(strange[:5])}")
    for path in sorted(folder.unread):
        folder.read(path)
    report.facts["policies"] = {"held": len(held), "missing": missing}
    if held:
        report.proven.append(f"{len(held)} policy text(s) are those that the entries name as in force")
    if missing:
        report.not_proven.append(f"the text of {len(missing)} policy(s) in force is not in the bundle: {', '.join(missing)}")
    _tell(report, folder, head, log_keys, entries)


def _log_keys(
    folder: Folder, head: Checkpoint, spans: Spans, context: dict[int, bytes], trusted: list[Key], note: str
) -> LogKeys:
    """Returns the log's keys. Where they changed, the history begins with the oldest: keys endorse each other both ways."""
    changes = []
    for index in sorted(spans.context):
        data = context.get(index) or folder.entry_bundle(index // WIDTH, head.size)[index % WIDTH]
        if b'"type":"key.r' in data:
            changes.append((index, read_entry(data)))
    changes = [(index, entry) for index, entry in changes if entry.get("type") in KEY_CHANGES]
    rotations = [entry for _, entry in changes if entry["type"] == "key.rotate"]
    signers = open_note(note, trusted)[1]
    need(rotations or signers, "the checkpoint is not signed by the trusted key, and no entry leads from that to another key")
    history = LogKeys(Key.parse(rotations[0].get("old")) if rotations else next(iter(signers)))
    for index, entry in changes:
        try:
            history.change(index, entry)
        except Failure as failure:
            raise Failure(f"entry {index}: {failure}") from failure
    need(set(trusted) & set(history.keys), "the trusted key is not among the keys of the log")
    return history


def _check_witnesses(report: Report, signers: dict[Key, int], witnesses: list[Key], quorum: int) -> None:
    found = {key: signers[key] for key in witnesses if key in signers}
    missing = ", ".join(key.name for key in witnesses if key not in found)
    need(len(found) >= quorum, f"{len(found)} witnesses cosigned the checkpoint, {quorum} must have; missing: {missing}")
    report.facts["witnesses"] = [{"name": key.name, "time_s": time_s} for key, time_s in found.items()]
    if witnesses:
        names = ", ".join(f"{key.name} at POSIX time {time_s}" for key, time_s in found.items())
        report.proven.append(f"{len(found)} of {len(witnesses)} witnesses saw the log grow into this checkpoint: {names}")
    else:
        report.not_proven.append(
            "no witness was given: whoever holds the log's key could show you another history, with entries left out or replaced"
        )


def _check_since(
    report: Report, folder: Folder, head: Checkpoint, log_keys: LogKeys, since: str, earlier: Checkpoint | None
) -> None:
    said = folder.manifest.get("since")
    proof = read_proof(folder.text("consistency")) if said else []
    for old in [Checkpoint.parse(f"{head.origin}\n{said.get('size')}\n{said.get('root')}\n")] if isinstance(said, dict) else []:
        _check_grown(old, head, proof)
    need(said is None or isinstance(said, dict), "the manifest's earlier checkpoint is malformed")
    if earlier is None:
        report.not_proven.append(
            "no earlier checkpoint was given (--since): it may be that entries you saw before were taken out"
        )
        return
    signers = open_note(since, log_keys.keys)[1]
    is_ours = earlier.origin == head.origin and any(log_keys.signs_for(key, earlier.size) for key in signers)
    need(is_ours, "the earlier checkpoint is not signed by a key of this log")
    needs_proof = 0 < earlier.size < head.size
    need(
        not needs_proof or (said and said.get("size") == earlier.size),
        "the bundle has no proof from your checkpoint: ask for one",
    )
    _check_grown(earlier, head, proof if needs_proof else [])
    report.facts["since"] = earlier.size
    report.proven.append(f"the log still contains, unchanged, the {earlier.size} entries of the checkpoint you gave")


def _check_grown(old: Checkpoint, new: Checkpoint, proof: list[bytes]) -> None:
    """Checks that the earlier tree is a prefix of the later one."""
    need(old.size <= new.size, f"the log had {old.size} entries before and has {new.size} now: it was rolled back or cut off")
    rest = list(proof)
    try:
        was, now = consistent_roots(rest, old.size, new.size, old.root) if old.size else (fold([]), new.root)
    except IndexError as error:
        raise Failure("the proof from the earlier checkpoint is too short") from error
    is_prefix = not rest and (was, now) == (old.root, new.root)
    need(is_prefix, f"the log does not contain what it contained at size {old.size}: it was forked or rewritten")


def _shown(folder: Folder, tree: Tree, spans: Spans, context: dict[int, bytes]) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Yields index, bytes and, where a tile has it, hash of every entry in the bundle, in the order of the log."""
    yield from ((index, data, None) for index, data in context.items() if index < spans.contained.start)
    for at in spans.tiles:
        hashes = tree.tile(0, at)
        for offset, data in enumerate(folder.entry_bundle(at, tree.size)):
            yield at * WIDTH + offset, data, hashes[offset]
    yield from ((index, data, None) for index, data in context.items() if index >= spans.contained.start)


def _check_proof(text: str, index: int, data: bytes, head: Checkpoint, note: str) -> None:
    """Checks one C2SP tlog-proof, which must carry the bundle's own checkpoint."""
    before, after = f"c2sp.org/tlog-proof@v1\nindex {index}\n", f"\n{note}"
    is_form = text.startswith(before) and text.endswith(after) and len(text) >= len(before) + len(after)
    need(is_form, "its proof is not one of this entry that leads to the bundle's checkpoint")
    proof = read_proof(text[len(before) : len(text) - len(after)])
    try:
        root = included_root(proof, leaf_hash(data), index, head.size)
    except IndexError as error:
        raise Failure("its inclusion proof is too short") from error
    need(not proof and root == head.root, "its inclusion proof does not lead to the checkpoint")


def _check_times(times: Any, asked: range, size: int, found: dict[int, str]) -> None:
    """Where the range was asked for by time: its entries are within it, and the neighbours on both sides are not."""
    if times is None:
        return
    need(isinstance(times, dict) and set(times) == {"from", "to"}, "the manifest's times are malformed")
    begin, end = str(times["from"] or ""), str(times["to"] or "9999")
    for index in (asked.start - 1, asked.start, asked.stop - 1, asked.stop):
        if 0 <= index < size:
            need(index in found, f"entry {index}, beside the range, is missing, so nobody can tell that the range is complete")
            need(
                (begin <= found[index] < end) == (index in asked),
                f"entry {index} shows that the range is not that of the times",
            )


def _tell(report: Report, folder: Folder, head: Checkpoint, log_keys: LogKeys, entries: Entries) -> None:
    asked, contained, signed = entries.spans.asked, entries.spans.contained, entries.signed
    unknown = sorted(at for at, state in entries.intents.values() if at in asked and state in ("", "outcome.unknown"))
    times, cited = folder.manifest.get("times"), len(entries.spans.cited)
    report.facts.update(origin=head.origin, size=head.size, root=base64_text(head.root), cited=cited, signatures=signed)
    report.facts.update(range=[asked.start, asked.stop], contained=[contained.start, contained.stop], unknown=unknown)
    report.facts.update(outcomes=entries.outcomes, manifest_sha256=folder.digest, keys=[str(key) for key in log_keys.keys])
    span = f"between the places {asked.start} and {asked.stop} there is no entry"
    if asked:
        last = entries.times[asked.stop - 1]
        span = f"entries {asked.start} to {asked.stop - 1} ({len(asked)}, from {entries.times[asked.start]} to {last})"
        span += f" are in the log at these places, all of them, unchanged; {cited} are cited with a proof each"
    report.proven.append(span)
    if times:
        until = f"before {times['to']}" if times["to"] else "up to the checkpoint"
        report.proven.append(f"they are all entries of the log from {times['from'] or 'its beginning'} on and {until}")
    report.proven.append(
        f"{signed['session']} entries are signed with keys of sessions, {signed['log']} with the log's own key"
    )
    report.proven.append(
        f"no session has a gap in what is shown, times never go back, {entries.outcomes} outcomes have their intents"
    )
    if unknown:
        listed = ", ".join(map(str, unknown[:20])) + (", …" if len(unknown) > 20 else "")
        report.not_proven.append(f"what {len(unknown)} intent(s) did, whose outcome is unknown: entry {listed}")
    if signed["revoked"]:
        report.not_proven.append(
            f"who wrote {signed['revoked']} entries, signed with a revoked key: only the tree vouches for them"
        )
    if signed["none"]:
        report.not_proven.append(
            f"who wrote {signed['none']} entries of format 1, without signature: only the tree vouches for them"
        )
    if len(contained) < head.size:
        report.not_proven.append("anything of entries that are not shown, such as that none of them changes the log's keys")


# ---- the command line -------------------------------------------------------------------------------------------------


def _given(value: str, bundle: str, is_inline: bool) -> str:
    """Returns a text that was given as such or as a file, which must not lie in the bundle."""
    if is_inline and not os.path.exists(value):
        return value
    inside = os.path.realpath(bundle)
    if os.path.commonpath([inside, os.path.realpath(value)]) == inside:
        raise Usage(f"{value} lies in the bundle, so it proves nothing about it")
    try:
        with open(value, "rb") as file:
            return file.read(1_000_001).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{value} cannot be read as text") from error


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
        keys, witnesses = ([_given(v, given.bundle, "+" in v).rstrip("\n") for v in vs] for vs in (given.key, given.witness))
        report = check(
            given.bundle, keys, _given(given.since, given.bundle, False) if given.since else "", witnesses, given.quorum
        )
    except Usage as error:
        print(f"error: {error}".encode("unicode_escape").decode("ascii"), file=sys.stderr)
        return 2
    except SystemExit as error:  # argparse has said what is wrong, or has printed its help
        return error.code if isinstance(error.code, int) else 2
    lines = ["VERIFIED" if report.is_verified else f"NOT VERIFIED: {len(report.problems)} problem(s)"]
    lines += [f"  wrong: {problem}" for problem in report.problems[:100]]
    lines += [f"  proven: {line}" for line in report.proven if report.is_verified]
    lines += [f"  not proven: {line}" for line in report.not_proven]
    lines += [f"  manifest: sha256 {report.facts['manifest_sha256']}"] if report.is_verified else []
    # Names and texts in the bundle come from others: no control sequence of theirs reaches the terminal.
    shown = "\n".join("".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in lines)
    print(json.dumps(report.to_dict(), indent=1) if given.json else shown)
    return 0 if report.is_verified else 1


if __name__ == "__main__":
    sys.exit(main())
