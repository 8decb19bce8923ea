#!/usr/bin/env python3
"""Verifies a folder of evidence that was exported from a ledger. One file, made to be read before it is trusted.

    python -I verify.py BUNDLE --key KEY [--since CHECKPOINT] [--witness KEY ... --quorum N] [--json]

It needs Python 3.9 or later and the package `cryptography`; it connects to nothing and writes nothing. KEY is the log's verifier key,
as text or as a file, which must have come to you by another way than with the bundle: a key inside the bundle is never trusted.
Exit status: 0 everything was verified, 1 something was changed or is missing, 2 wrong usage.

The formats: Merkle tree and proofs of RFC 6962 / RFC 9162; signed-note, tlog-checkpoint, tlog-tiles, tlog-proof and tlog-cosignature
of https://c2sp.org; entries in canonical JSON (a profile of RFC 8785), each with an Ed25519 signature. Of anything that is read, only
the one canonical form is accepted, and whatever cannot be read as it should be counts as changed.
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
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH = 256  # hashes in a full tile, entries in a full entry bundle
MAX_SIZE = 2**63 - 1
FORMAT = "guardrails-evidence/1"
CONTEXT = b"guardrails ledger entry v2\n"  # stands before an entry's bytes in what is signed
KEY_CHANGES = ("key.rotate", "key.retire", "key.revoke")
KEY_SESSION = "log.keys"  # the session of those entries, of which all are shown
NAME = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")
DIGEST = re.compile("[0-9a-f]{64}")
TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z", re.ASCII)
ENDS = {"ok": "committed", "rolled_back": "taken_back", "error": "taken_back"}  # of a transaction, and so of its changes
Json = dict[str, Any]


class Failure(Exception):
    """The bundle was changed, is incomplete or contradicts itself."""


class Usage(Exception):
    """What was asked for cannot be done."""


UNREADABLE = (Failure, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OSError)


def need(is_so: object, otherwise: str) -> None:
    if not is_so:
        raise Failure(otherwise)


def reason(error: Exception) -> str:
    return str(error) if isinstance(error, (Failure, OSError)) else f"something in it is malformed ({type(error).__name__})"


# ---- texts and entries
def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def strict_base64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    need(base64_text(data) == text, "a base64 text is not in its canonical form")
    return data


def canonical(entry: Json) -> bytes:
    return json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def canonical_manifest(manifest: Json) -> bytes:
    """Returns the manifest's bytes; its field `sha256` is the digest of these bytes without that field."""
    return (json.dumps(manifest, sort_keys=True, indent=1) + "\n").encode("ascii")


def is_in_profile(value: Any, depth: int = 1) -> bool:
    """Tells whether a value has ASCII keys, no numbers but integers up to 2^53, and not more than 32 levels."""
    if isinstance(value, dict):
        return depth <= 32 and all(name.isascii() and is_in_profile(item, depth + 1) for name, item in value.items())
    if isinstance(value, list):
        return depth <= 32 and all(is_in_profile(item, depth + 1) for item in value)
    return not isinstance(value, float) and (type(value) is not int or abs(value) <= 2**53)


def read_entry(data: bytes) -> Json:
    entry = json.loads(data.decode("utf-8"))
    is_within = isinstance(entry, dict) and is_in_profile(entry) and len(data) <= 65_535
    need(is_within, "it is outside of the profile of JSON for entries")
    need(canonical(entry) == data, "it is not in canonical form")
    return dict(entry)


# ---- the Merkle tree (RFC 6962, section 2.1)
def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\x00" + data)


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


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
    root = peaks[-1] if peaks else sha256(b"")
    for left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def half_of(size: int) -> int:
    """Returns the size of a tree's left half: the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def included_root(proof: list[bytes], leaf: bytes, index: int, size: int) -> bytes:
    """Returns the root that an inclusion proof leads to; takes from the proof's end what it uses (section 2.1.1)."""
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
    *lines, rest = text.split("\n")
    hashes = [strict_base64(line) for line in lines]
    need(not rest and all(len(value) == 32 for value in hashes), "a proof is malformed")
    return hashes


# ---- keys, signed notes and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature)
@lru_cache(maxsize=4096)
def ed25519(public: bytes) -> Ed25519PublicKey:
    """Returns a key, unless it is one under which anybody can sign (a point of small order) or has a second spelling."""
    y, field_size = int.from_bytes(public, "little") & (2**255 - 1), 2**255 - 19
    d = -121665 * pow(121666, -1, field_size) % field_size
    is_order_eight = (2 * y * y - 1 + d * y**4) % field_size == 0  # twice such a point has y = 0
    is_safe = len(public) == 32 and y < field_size and y not in (0, 1, field_size - 1) and not is_order_eight
    need(is_safe, "a public key is not a safe Ed25519 key")
    return Ed25519PublicKey.from_public_bytes(public)


def has_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        ed25519(public).verify(signature, message)
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
    def parse(cls, text: str) -> Key:
        name, _, rest = text.partition("+")
        data = strict_base64(rest.partition("+")[2])
        key = cls(name, data[0], data[1:])
        need(NAME.fullmatch(name) and key.kind in (1, 4) and str(key) == text, "a verifier key is malformed or not of Ed25519")
        ed25519(key.public)
        return key

    @property
    def hash(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public)[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64_text(bytes([self.kind]) + self.public)}"


def open_note(note: str, keys: Iterable[Key]) -> tuple[str, dict[Key, int]]:
    """Returns a note's text, and who of `keys` signed it; for cosignatures with the POSIX time that they state, else 0."""
    body, separator, tail = note.rpartition("\n\n")
    text, *lines = body + "\n", *tail.split("\n")
    is_form = separator and body and not lines.pop() and len(lines) <= 100 and len(note) <= 1_000_000
    need(is_form and not re.search("[\x00-\x09\x0b-\x1f\ud800-\udfff]", text), "a signed note is malformed")
    known, signers = {(key.name, key.hash): key for key in keys}, dict[Key, int]()
    for line in lines:
        mark, name, encoded = line.split(" ")
        signature = strict_base64(encoded)
        need(mark == "\u2014" and NAME.fullmatch(name) and len(signature) > 4, "a signature line of a note is malformed")
        key = known.get((name, signature[:4]))
        if key is None:
            continue
        time_s = int.from_bytes(signature[4:12], "big") if key.kind == 4 else 0
        message = f"cosignature/v1\ntime {time_s}\n{text}" if key.kind == 4 else text
        is_new = len(signature) == (76 if key.kind == 4 else 68) and key not in signers
        need(is_new and has_signed(key.public, signature[-64:], message.encode()), f"a signature of {name} does not hold")
        signers[key] = time_s
    return text, signers


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        origin, size, root, *more = text.split("\n")
        is_form = more and not more.pop() and all(more) and NAME.fullmatch(origin) and re.fullmatch("0|[1-9][0-9]{0,18}", size)
        need(is_form and int(size) <= MAX_SIZE and len(strict_base64(root)) == 32, "a checkpoint is malformed")
        return cls(origin, int(size), strict_base64(root))


class LogKeys:
    """The log's own keys, as the entries that change them tell; each change is endorsed by the keys themselves."""

    def __init__(self, first: Key) -> None:
        self.keys, self.valid_from = [first], {first: 0}  # tree size, as are the next two
        self.retired_at: dict[Key, int] = {}
        self.revoked_from: dict[Key, int] = {}

    def signs_for(self, key: Key, size: int) -> bool:
        """Tells whether the key's word counts for a tree of this size."""
        return self.valid_from[key] <= size <= self.retired_at.get(key, MAX_SIZE) and size < self.revoked_from.get(key, 2**63)

    def change(self, index: int, entry: Json) -> None:
        kind, current = entry["type"], self.keys[-1]
        if kind == "key.rotate":
            old, new = Key.parse(entry["old"]), Key.parse(entry["new"])
            is_new = new.kind == 1 and all(new.public != key.public and new.hash != key.hash for key in self.keys)
            need(old == current and new.name == old.name and is_new, f"entry {index}: it does not follow the keys so far")
            text = f"guardrails ledger key rotation v1\n{old.name}\n{old}\n{new}\n".encode()
            for key, who in ((old, "old"), (new, "new")):
                is_endorsed = has_signed(key.public, strict_base64(entry["endorsements"][who]), text)
                need(is_endorsed, f"entry {index}: the {who} key does not endorse it")
            self.keys.append(new)
            self.valid_from[new] = index + 1
            return
        key, is_retired, size = Key.parse(entry["key"]), kind == "key.retire", entry.get("from_size", 1)
        need(key in self.keys[:-1] and entry["signed_by"] == str(current), f"entry {index}: it does not follow the keys so far")
        is_new = key not in {**self.retired_at, **self.revoked_from} if is_retired else self.revoked_from.get(key, 2**63) > size
        need(is_new and type(size) is int and 1 <= size <= index + 1, f"entry {index}: it ends a key in a way that cannot be")
        what = "key retirement" if is_retired else "key revocation"
        lines = [f"guardrails ledger {what} v1", current.name, key, *([] if is_retired else [size]), current]
        text = "".join(f"{line}\n" for line in lines).encode()
        is_signed = has_signed(current.public, strict_base64(entry["signature"]), text)
        need(is_signed, f"entry {index}: the current key did not sign it")
        ended = self.retired_at if is_retired else self.revoked_from
        ended[key] = index if is_retired else size


# ---- the folder: what the manifest lists, no more and no less
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
        self.manifest: Json = json.loads(data)
        need(self.manifest["format"] == FORMAT, f"this is no bundle of {FORMAT}")
        rest = {name: value for name, value in self.manifest.items() if name != "sha256"}
        self.digest = sha256(canonical_manifest(rest)).hex()
        need(canonical_manifest({**rest, "sha256": self.digest}) == data, "the manifest is not what it was when it was written")
        self.files: dict[str, str] = dict(rest["files"].items())
        self.read_paths: set[str] = set()

    def check_names(self) -> None:
        """Holds what is in the folder to what is listed: regular files and folders only, none missing, none added."""
        found, pending = set(), [""]
        while pending:
            for entry in os.scandir(os.path.join(self.root, *pending.pop().split("/"))):
                path = os.path.relpath(entry.path, self.root).replace(os.sep, "/")
                mode = os.lstat(entry.path).st_mode
                need(stat.S_ISREG(mode) or stat.S_ISDIR(mode), f"{path} is neither a file nor a folder")
                pending += [path] if stat.S_ISDIR(mode) else []
                found |= {path} if stat.S_ISREG(mode) else set()
        strange = sorted(found ^ {*self.files, "manifest.json"})
        need(not strange, f"missing, or not listed in the manifest: {', '.join(strange[:5])}")

    def read(self, path: str) -> bytes:
        need(path in self.files, f"{path} is missing: the manifest does not list it")
        with open(os.path.join(self.root, *path.split("/")), "rb") as file:
            data = file.read()
        need(sha256(data).hex() == self.files[path], f"{path} differs from the manifest")
        self.read_paths.add(path)
        return data

    def entry_bundle(self, index: int, size: int) -> list[bytes]:
        width = min(WIDTH, size - index * WIDTH)
        data, entries, at = self.read(tile_path("entries", index, width)), [], 0
        while at < len(data):
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            entries.append(data[at + 2 : end])
            at = end
        need(at == len(data) and len(entries) == width, f"the entry bundle {index} does not consist of {width} whole entries")
        return entries


class Spans:
    """What the manifest says that the bundle is about: a range, the whole entry bundles around it, cited and context entries."""

    def __init__(self, manifest: Json, size: int) -> None:
        (start, stop), context = manifest["range"], manifest["context"]
        need(type(start) is int and type(stop) is int and 0 <= start <= stop <= size, "the range is not within the checkpoint")
        self.asked, self.tiles, self.contained = range(start, stop), range(0), range(start, stop)
        if self.asked:
            self.tiles = range(start // WIDTH, -(-stop // WIDTH))
            self.contained = range(self.tiles.start * WIDTH, min(self.tiles.stop * WIDTH, size))
        cited = list(self.asked) if manifest["cited"] == "all" else manifest["cited"]
        self.cited, self.context = set(cited), set(context)
        is_sound = sorted(self.cited) == cited and sorted(self.context) == context
        is_sound = is_sound and all(i in self.asked for i in cited) and all(0 <= i < size for i in context)
        is_sound = is_sound and all(type(i) is int for i in [*cited, *context, *manifest["contained"]])
        is_around = manifest["contained"] == [self.contained.start, self.contained.stop]
        need(is_sound and is_around, "the manifest's entries are malformed, out of range or out of order")


class Tree:
    """The hashes in the bundle's tiles, none of which is believed before it leads to the checkpoint's root."""

    def __init__(self, folder: Folder, head: Checkpoint, tiles: range) -> None:
        self.folder, self.size = folder, head.size
        counts = [(level, head.size >> 8 * level) for level in reversed(range(8))] if tiles else []
        edge = [(level, count // WIDTH) for level, count in counts if count % WIDTH]
        self.known = {place: self._read(*place) for place in edge}
        is_tree = fold([peak for place in edge for peak in peaks_of(self.known[place])]) == head.root
        need(is_tree or not tiles, "the tiles do not lead to the root of the checkpoint")

    def tile(self, level: int, index: int) -> list[bytes]:
        if (level, index) in self.known:
            return self.known[level, index]
        hashes = self._read(level, index)
        is_known = fold(peaks_of(hashes)) == self.tile(level + 1, index // WIDTH)[index % WIDTH]
        need(is_known, f"the tile {index} of level {level} does not belong to the tree of the checkpoint")
        self.known.update({(level, index): hashes} if level else {})
        return hashes

    def _read(self, level: int, index: int) -> list[bytes]:
        width = min(WIDTH, (self.size >> 8 * level) - index * WIDTH)
        data = self.folder.read(tile_path(level, index, width))
        need(len(data) == 32 * width, "a tile has not the length that its name says")
        return [data[at : at + 32] for at in range(0, len(data), 32)]


# ---- entries: what they say, and who signed them
@dataclass
class Session:
    next_seq: int = 0
    last_index: int = -1
    has_begun: bool = False  # its first entry is shown, so whether it has a key of its own is known
    key: bytes = b""


class Entries:
    """Follows the entries that the bundle shows, in the order of the log.

    Those of the range and of the context are checked in full; the others, which merely share an entry bundle with them, as far as the
    bundle shows what they depend on.
    """

    def __init__(self, log_keys: LogKeys, spans: Spans) -> None:
        self.log_keys, self.spans, self.sessions = log_keys, spans, dict[str, Session]()
        self.intents: dict[str, tuple[int, str]] = {}  # by id: index, then "" or the type of its outcome
        # Changes in transactions: their places (intent, outcome) by transaction and number, and what became of them by these places.
        self.waiting, self.changes = dict[str, dict[int, tuple[int, int]]](), dict[tuple[int, int], str]()
        self.policies, self.times, self.last_time, self.outcomes = set[str](), dict[int, str](), "", 0
        self.signed = {"session": 0, "log": 0, "revoked": 0, "none": 0}

    def take(self, index: int, data: bytes) -> None:
        entry = read_entry(data)
        version, entry_id, kind, intent = entry["v"], entry["id"], str(entry.get("type")), str(entry.get("intent"))
        is_full = index in self.spans.asked or index in self.spans.context
        is_first_format = version == 1 and self.signed["none"] == sum(self.signed.values())  # none of the second before it
        need(type(version) is int and (version == 2 or is_first_format), "its format is not version 2")
        need(re.fullmatch("[0-9a-f]{32}", str(entry_id)), "its id is not 32 hexadecimal digits")
        need(is_first_format or int(entry_id[:16], 16) == index, "its id is that of another place in the log")
        is_of_keys = entry.get("session") == KEY_SESSION
        need(is_of_keys or kind not in KEY_CHANGES, "it changes the log's keys outside of the session for that")
        need(not is_of_keys or index in self.spans.context, "it is about the log's keys, but is not in the context")
        self._stamps(index, entry)
        session = self._session(index, entry)
        need(session.has_begun or not is_full, "the first entry of its session is not shown, so the session's key is not known")
        if is_first_format:
            self.signed["none"] += 1
        elif session.has_begun:
            self._signature(index, entry, session)
        if kind == "intent":
            self.intents[entry_id] = (index, "")
        elif kind == "outcome" or kind.startswith("outcome."):
            at, before = self.intents.get(intent, (-1, ""))
            need(at >= 0 or not is_full, "it is the outcome of an intent that is not shown before it")
            need(not before or (before == "outcome.unknown" != kind), "it is a second outcome of one intent")
            self.intents[intent], self.outcomes = (at, kind), self.outcomes + (at >= 0)
        self._transaction(index, entry, kind, intent)
        decision = entry.get("decision")
        named = [decision.get("policy") if isinstance(decision, dict) else "", kind == "key.bind" and entry.get("policy")]
        self.policies |= {str(digest) for digest in named if is_full and DIGEST.fullmatch(str(digest))}

    def _transaction(self, index: int, entry: Json, kind: str, intent: str) -> None:
        """Follows transactions: what became of a change in one is said by the transaction's end, not by the change's outcome."""
        place = entry["transaction"] if isinstance(entry.get("transaction"), dict) else {}
        waiting, status = self.waiting.setdefault(repr((entry.get("session"), place.get("id"))), {}), str(entry.get("status"))
        if kind == "outcome" and status == "uncommitted":
            waiting[place["number"]], self.changes[self.intents[intent][0], index] = (self.intents[intent][0], index), "open"
        elif kind == "transaction.rolled_back":  # to a savepoint
            self.changes.update({waiting.pop(n): "taken_back" for n in list(waiting) if place["from"] <= n <= place["to"]})
        elif kind == "outcome" and "statements" in place:
            self.changes.update(dict.fromkeys(waiting.values(), ENDS.get(status, "open")))

    def _stamps(self, index: int, entry: Json) -> None:
        time, found, asked = str(entry["time"]), TIME.fullmatch(str(entry["time"])), self.spans.asked
        need(found, "its time is not RFC 3339 in UTC with microseconds")
        datetime(*map(int, found.groups() if found else ()), tzinfo=timezone.utc)  # type: ignore[arg-type, misc]
        need(time >= self.last_time, "its time is before that of an earlier entry")
        self.last_time = time
        self.times.update({index: time} if index in (asked.start - 1, asked.start, asked.stop - 1, asked.stop) else {})
        writer = {name: type(value) for name, value in entry["writer"].items()}
        need(writer == {"host": str, "pid": int, "start": str}, "its writer is not host, pid and start")
        digests = entry.get("commitments", {}).values()
        need(all(DIGEST.fullmatch(digest) for digest in digests), "its commitments are not SHA-256 digests")

    def _session(self, index: int, entry: Json) -> Session:
        name, seq = entry.get("session", ""), entry["seq"]
        need(isinstance(name, str) and type(seq) is int, "its session or its place in it is malformed")
        session = self.sessions.setdefault(name, Session())
        is_seamless = self.spans.contained.start <= session.last_index + 1 and index in self.spans.contained
        # At most so many entries of the session may lie between, not shown.
        hidden = 0 if is_seamless or name == KEY_SESSION else index - session.last_index - 1
        expected, session.next_seq, session.last_index = session.next_seq, seq + 1, index
        need(0 <= seq - expected <= hidden, f"its place in the session is {seq}, not {expected}: one is missing or double")
        session.has_begun = session.has_begun or seq == 0
        if entry.get("type") == "key.bind":
            need(seq == 0, "it binds a key to a session that has begun")
            session.key = strict_base64(entry["key"]["public"])
            ed25519(session.key)
            is_said = entry["key"]["algorithm"] == "ed25519" and entry["key"]["id"] == sha256(session.key).hex()[:16]
            need(is_said, "the key that it binds is not what it says")
        return session

    def _signature(self, index: int, entry: Json, session: Session) -> None:
        sig, kind, public = entry["sig"], "session", session.key
        need(set(sig) == {"key", "ed25519"}, "it is not signed")
        if not public or sig["key"] != sha256(public).hex()[:16]:
            may_log = not public or entry.get("type") == "outcome.unknown"  # a lost outcome, found by the log's owner
            current = [key for key, size in self.log_keys.valid_from.items() if size <= index][-1]
            is_current = may_log and sig["key"] == sha256(current.public).hex()[:16]
            need(is_current, "it is signed with a key that has no say in its session")
            # Of an entry signed with a revoked key, the tree says that it is in the log, but nothing says who wrote it.
            kind = "revoked" if index + 1 >= self.log_keys.revoked_from.get(current, 2**63) else "log"
            public = current.public
        message = CONTEXT + canonical({name: value for name, value in entry.items() if name != "sig"})
        need(has_signed(public, strict_base64(sig["ed25519"]), message), "its signature does not hold")
        self.signed[kind] += 1


# ---- the whole verification
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
        said = {"problems": self.problems[:100], "proven": self.proven, "not_proven": self.not_proven}
        return {"verified": self.is_verified, "bundle": self.bundle, "problem_count": len(self.problems), **said, **self.facts}


def check(bundle: str, keys: Sequence[str], since: str = "", witnesses: Sequence[str] = (), quorum: int = 0) -> Report:
    """Verifies a bundle. `keys` and `witnesses` are texts of verifier keys and `since` a signed note, all from elsewhere; of the
    witnesses, `quorum` (0 stands for all) must have cosigned.

    Raises:
        Usage: No key is given, one is malformed, or `since` is; there is no such folder; the quorum cannot be.
    """
    try:
        trusted, cosigners = [Key.parse(text) for text in keys], [Key.parse(text) for text in witnesses]
        earlier = Checkpoint.parse(open_note(since, [])[0]) if since else None
    except UNREADABLE as error:
        raise Usage(f"a key or the earlier checkpoint is not usable: {reason(error)}") from error
    if not trusted:
        raise Usage("--key is missing: a key found with the bundle proves nothing, so you must have it from elsewhere")
    if {key.kind for key in trusted} != {1} or {key.kind for key in cosigners} - {4} or len(set(cosigners)) < len(cosigners):
        raise Usage("a log's key begins with AQ after its second +, a witness's with BA, and each witness is named once")
    if not os.path.isdir(bundle) or not 0 <= quorum <= len(cosigners):
        raise Usage("BUNDLE is a folder, and --quorum is from 1 to the number of witnesses")
    report = Report(bundle)
    try:
        folder = Folder(bundle)
        folder.check_names()
        _check(report, folder, trusted, cosigners, quorum or len(cosigners), since, earlier)
    except UNREADABLE as error:
        report.problems.append(reason(error))
    report.proven = report.proven if report.is_verified else []
    return report


def _check(
    report: Report,
    folder: Folder,
    trusted: list[Key],
    witnesses: list[Key],
    quorum: int,
    since: str,
    earlier: Checkpoint | None,
) -> None:
    manifest, note = folder.manifest, folder.read("checkpoint").decode("utf-8")
    head = Checkpoint.parse(open_note(note, [])[0])
    is_ours = [manifest["origin"], manifest["size"], manifest["root"]] == [head.origin, head.size, base64_text(head.root)]
    need(is_ours and type(manifest["size"]) is int, "the manifest is of another checkpoint")
    spans, lines = Spans(manifest, head.size), folder.read("context.jsonl").split(b"\n")
    outside = [index for index in sorted(spans.context) if index not in spans.contained]
    need(not lines.pop() and len(lines) == len(outside), "context.jsonl has not one line for each entry in no bundle")
    context = dict(zip(outside, lines))

    log_keys = _log_keys(folder, head, spans, context, trusted, note)
    _, signers = open_note(note, [*log_keys.keys, *witnesses])
    valid = [key for key in log_keys.keys if key in signers and log_keys.signs_for(key, head.size) and key.name == head.origin]
    need(valid, "the checkpoint is not signed by the trusted key, nor by one that the trusted key leads to")
    names = ", ".join(f"{key.name}+{key.hash.hex()}" for key in valid)
    report.proven.append(f"the checkpoint of {head.origin} with {head.size} entries is signed by {names}")
    if not set(valid) & set(trusted):
        report.proven.append(f"the trusted key leads to that key: {len(log_keys.keys) - 1} rotation(s) of keys are in the log")
    found = {key: signers[key] for key in witnesses if key in signers}
    missing = ", ".join(key.name for key in witnesses if key not in found)
    need(len(found) >= quorum, f"{len(found)} witnesses cosigned the checkpoint, {quorum} must have; missing: {missing}")
    cosigned = ", ".join(f"{key.name} at POSIX time {time_s}" for key, time_s in found.items())
    if found:
        report.proven.append(f"{len(found)} of {len(witnesses)} witnesses saw the log grow to this checkpoint: {cosigned}")
    _check_since(report, folder, head, log_keys, since, earlier)

    tree, entries, proofs = Tree(folder, head, spans.tiles), Entries(log_keys, spans), spans.cited | spans.context
    for index, data, hashed in _shown(folder, tree, spans, context):
        try:
            need(hashed in (None, leaf_hash(data)), "it was changed: the tree has another hash for it")
            if index in proofs:
                _check_proof(folder.read(f"proofs/{index}.tlog-proof").decode("utf-8"), index, data, head, note)
            entries.take(index, data)
        except UNREADABLE as error:
            report.problems.append(f"entry {index}: {reason(error)}")
    if not report.problems:
        _check_times(manifest["times"], spans.asked, head.size, entries.times)
        policies = {path for path in folder.files if path.startswith("policies/")}
        for path in sorted(policies):
            digest = sha256(folder.read(path)).hex()
            need(path == f"policies/{digest}.json" and digest in entries.policies, f"{path} is no policy that an entry names")
        lost = sorted(digest for digest in entries.policies if f"policies/{digest}.json" not in policies)
        need(manifest["policies_missing"] == lost, "the manifest does not say which policies are missing")
        for path in ("keys.json", "README.txt", "verify.py"):  # nothing in these is taken for true
            folder.read(path)
        strange = sorted(set(folder.files) - folder.read_paths)
        need(not strange, f"not part of such a bundle: {', '.join(strange[:5])}")
        report.facts["witnesses"] = [{"name": key.name, "time_s": time_s} for key, time_s in found.items()]
        report.facts["policies"] = {"held": len(policies), "missing": lost}
        _tell(report, folder, head, log_keys, entries)


def _log_keys(
    folder: Folder, head: Checkpoint, spans: Spans, context: dict[int, bytes], trusted: list[Key], note: str
) -> LogKeys:
    """Returns the log's keys. Where they changed, the history begins with the oldest: keys endorse each other both ways."""
    leaves = [
        (index, context.get(index) or folder.entry_bundle(index // WIDTH, head.size)[index % WIDTH])
        for index in sorted(spans.context)
    ]
    entries = [(index, read_entry(leaf)) for index, leaf in leaves if b'"type":"key.r' in leaf]
    changes = [(index, entry) for index, entry in entries if entry["type"] in KEY_CHANGES]
    oldest = [Key.parse(entry["old"]) for _, entry in changes if entry["type"] == "key.rotate"][:1]
    oldest = oldest or list(open_note(note, trusted)[1])
    need(oldest, "the checkpoint is not signed by the trusted key, and no entry leads from that to another key")
    history = LogKeys(oldest[0])
    for index, entry in changes:
        history.change(index, entry)
    need(set(trusted) & set(history.keys), "the trusted key is not among the keys of the log")
    return history


def _check_since(
    report: Report, folder: Folder, head: Checkpoint, log_keys: LogKeys, since: str, earlier: Checkpoint | None
) -> None:
    said, proof, old = folder.manifest["since"], list[bytes](), None
    if said is not None:
        old = Checkpoint.parse(f"{head.origin}\n{said['size']}\n{said['root']}\n")
        proof = read_proof(folder.read("consistency").decode("utf-8"))
        _check_grown(old, head, proof)
    if earlier is None:
        return
    signers = open_note(since, log_keys.keys)[1]
    is_ours = earlier.origin == head.origin and any(log_keys.signs_for(key, earlier.size) for key in signers)
    need(is_ours, "the earlier checkpoint is not signed by a key of this log")
    needs_proof = 0 < earlier.size < head.size
    is_provable = not needs_proof or (old is not None and old.size == earlier.size)
    need(is_provable, "the bundle has no proof from your checkpoint: ask for one")
    _check_grown(earlier, head, proof if needs_proof else [])
    report.facts["since"] = earlier.size
    report.proven.append(f"the log still contains, unchanged, the {earlier.size} entries of the checkpoint you gave")


def _check_grown(old: Checkpoint, new: Checkpoint, proof: list[bytes]) -> None:
    """Checks that the earlier tree is a prefix of the later one."""
    need(old.size <= new.size, f"the log had {old.size} entries before and has {new.size} now: it was rolled back or cut off")
    rest = list(proof)
    roots = consistent_roots(rest, old.size, new.size, old.root) if old.size else (fold([]), new.root)
    is_prefix = not rest and roots == (old.root, new.root)
    need(is_prefix, f"the log does not contain what it contained at size {old.size}: it was forked or rewritten")


def _shown(folder: Folder, tree: Tree, spans: Spans, context: dict[int, bytes]) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Yields index, bytes and, where a tile has it, hash of every entry in the bundle, in the order of the log."""
    yield from ((index, data, None) for index, data in context.items() if index < spans.contained.start)
    for at in spans.tiles:
        for index, (data, hashed) in enumerate(zip(folder.entry_bundle(at, tree.size), tree.tile(0, at)), at * WIDTH):
            yield index, data, hashed
    yield from ((index, data, None) for index, data in context.items() if index >= spans.contained.start)


def _check_proof(text: str, index: int, data: bytes, head: Checkpoint, note: str) -> None:
    """Checks one C2SP tlog-proof, which must carry the bundle's own checkpoint."""
    before, after = f"c2sp.org/tlog-proof@v1\nindex {index}\n", f"\n{note}"
    is_form = text.startswith(before) and text.endswith(after) and len(text) >= len(before) + len(after)
    need(is_form, "its proof is not one of this entry that leads to the bundle's checkpoint")
    proof = read_proof(text[len(before) : len(text) - len(after)])
    root = included_root(proof, leaf_hash(data), index, head.size)
    need(not proof and root == head.root, "its inclusion proof does not lead to the checkpoint")


def _check_times(times: Json | None, asked: range, size: int, found: dict[int, str]) -> None:
    """Where the range was asked for by time: its entries are within it, and the neighbours on both sides are not."""
    if times is None:
        return
    is_form = set(times) == {"from", "to"} and all(time is None or TIME.fullmatch(time) for time in times.values())
    need(is_form, "the manifest's times are malformed")
    for index in (i for i in (asked.start - 1, asked.start, asked.stop - 1, asked.stop) if 0 <= i < size):
        need(index in found, f"entry {index}, beside the range, is not shown, so nobody can tell that the range is complete")
        is_within = (times["from"] or "") <= found[index] < (times["to"] or "9999")
        need(is_within == (index in asked), f"entry {index} shows that the range is not that of the times")


def _tell(report: Report, folder: Folder, head: Checkpoint, log_keys: LogKeys, entries: Entries) -> None:
    asked, contained, signed, cited = entries.spans.asked, entries.spans.contained, entries.signed, len(entries.spans.cited)
    unknown = sorted(at for at, state in entries.intents.values() if at in asked and state in ("", "outcome.unknown"))
    times, lost, held = folder.manifest["times"], report.facts["policies"]["missing"], report.facts["policies"]["held"]
    ours = sorted((at, state) for (at, end), state in entries.changes.items() if at in asked or end in asked)
    kept, undone, left = ([at for at, state in ours if state == name] for name in ("committed", "taken_back", "open"))
    report.facts.update(origin=head.origin, size=head.size, root=base64_text(head.root), cited=cited, signatures=signed)
    report.facts.update(range=[asked.start, asked.stop], contained=[contained.start, contained.stop], unknown=unknown)
    report.facts["changes"] = {"committed": kept, "taken_back": undone, "open": left}
    report.facts.update(outcomes=entries.outcomes, manifest_sha256=folder.digest, keys=[str(key) for key in log_keys.keys])
    span = f"between the places {asked.start} and {asked.stop} there is no entry"
    if asked:
        span = f"entries {asked.start} to {asked.stop - 1} ({len(asked)}, {entries.times[asked.start]} to"
        span += f" {entries.times[asked.stop - 1]}) are in the log at these places, all of them, unchanged; {cited} are cited"
    begin, end = (times["from"] or "its beginning", times["to"] or "the checkpoint") if times else ("", "")
    proven = {
        span: True,
        f"they are all entries of the log from {begin} to {end}": times,
        f"{signed['session']} entries are signed with keys of sessions, {signed['log']} with the log's own key": True,
        f"no session has a gap in what is shown, times never go back, {entries.outcomes} outcomes have their intents": True,
        f"changes in transactions were committed, and nothing that is shown took them back before: entries {kept}": kept,
        f"changes in transactions were taken back, before its end or by it: entries {undone}": undone,
        f"{held} policy text(s) are those that the entries name as in force": held,
    }
    listed, only = ", ".join(map(str, unknown[:20])) + (", ..." if len(unknown) > 20 else ""), "only the tree vouches for them"
    has_witness, has_since = bool(report.facts["witnesses"]), "since" in report.facts
    not_proven = {
        "no witness was given: whoever holds the log's key could show you another history, entries out or replaced": not has_witness,
        "no earlier checkpoint was given (--since): entries that you saw before may have been taken out": not has_since,
        f"the text of {len(lost)} policy(s) in force is not in the bundle: {', '.join(lost)}": lost,
        f"what {len(unknown)} intent(s) did, whose outcome is unknown: entry {listed}": unknown,
        f"what became of changes in transactions whose end is not shown or unknown: entries {left}": left,
        f"who wrote {signed['revoked']} entries that are signed with a revoked key: {only}": signed["revoked"],
        f"who wrote {signed['none']} entries of format 1, which have no signature: {only}": signed["none"],
        "anything of entries that are not shown, such as that no later one revokes a key": len(contained) < head.size,
    }
    report.proven += [line for line, is_so in proven.items() if is_so]
    report.not_proven += [line for line, is_so in not_proven.items() if is_so]


# ---- the command line
def _given(value: str, bundle: str, is_inline: bool) -> str:
    """Returns a text that was given as such or as a file, which must not lie in the bundle."""
    if is_inline and not os.path.exists(value):
        return value
    if os.path.realpath(value).startswith(os.path.realpath(bundle) + os.sep):
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
        "--key", action="append", default=[], metavar="KEY", help="the log's verifier key, text or file, from elsewhere"
    )
    parser.add_argument("--since", metavar="FILE", help="the last checkpoint of this log that you kept")
    parser.add_argument("--witness", action="append", default=[], metavar="KEY", help="a witness's verifier key, text or file")
    parser.add_argument(
        "--quorum", type=int, default=0, metavar="N", help="how many witnesses must have cosigned; by default all"
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    try:
        given = parser.parse_args(arguments)
        keys, witnesses = ([_given(v, given.bundle, "+" in v).rstrip("\n") for v in vs] for vs in (given.key, given.witness))
        since = _given(given.since, given.bundle, False) if given.since else ""
        report = check(given.bundle, keys, since, witnesses, given.quorum)
    except Usage as error:
        print(f"error: {error}".encode("unicode_escape").decode("ascii"), file=sys.stderr)
        return 2
    except SystemExit as error:  # argparse has said what is wrong, or has printed its help
        return error.code if isinstance(error.code, int) else 2
    lines = ["VERIFIED" if report.is_verified else f"NOT VERIFIED: {len(report.problems)} problem(s)"]
    for title, found in (("wrong", report.problems[:100]), ("proven", report.proven), ("not proven", report.not_proven)):
        lines += [f"  {title}: {line}" for line in found]
    lines += [f"  manifest: sha256 {report.facts['manifest_sha256']}"] if report.is_verified else []
    # Names and texts in the bundle come from others: no control sequence of theirs reaches the terminal.
    shown = "\n".join(line.encode("unicode_escape").decode("ascii") for line in lines)
    print(json.dumps(report.to_dict(), indent=1) if given.json else shown)
    return 0 if report.is_verified else 1


if __name__ == "__main__":
    sys.exit(main())
