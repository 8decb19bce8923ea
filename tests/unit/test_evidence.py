"""What a bundle of evidence holds, and that the verifier accepts it and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, TamperedError, UsageError
from guardrails.ledger import Ledger, Private, SessionKey
from guardrails.ledger.administration import archive, retire_key, revoke_key, rotate_key
from guardrails.ledger.appending import Request
from guardrails.ledger.entry import decode
from guardrails.ledger.evidence import Report, export_evidence, verify_evidence
from guardrails.ledger.evidence.verifier import UNREADABLE, Folder, canonical_manifest
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.proof import EntryProof
from guardrails.ledger.publishing import DirectoryTarget
from guardrails.ledger.tiles import BundleId, decode_bundle, parse_path
from tests.support.evidence import Witness

SIGNER = Ed25519Signer("example.com/log", b"k" * 32)
KEY = str(SIGNER.verifier())
SECRETS = (b"planted-4711-value", b"planted@example.com", b"planted policy reason")


class Clock:
    """Goes on by a second with each look."""

    def __init__(self) -> None:
        self.now_s = 1_772_355_600  # 2026-03-01T09:00:00Z

    def __call__(self) -> int:
        self.now_s += 1
        return self.now_s * 1_000_000_000


class PolicyText:
    def __init__(self, canonical: str) -> None:
        self.canonical = canonical
        self.digest = sha256(canonical.encode()).hexdigest()


KEPT, GIVEN, LOST = (PolicyText(json.dumps({"version": 1, "name": name})) for name in ("kept", "given", "lost"))


def fill(ledger: Ledger) -> dict[str, SessionKey]:
    """Two sessions with keys of their own, one without, private values, and policies that are kept, given and lost."""
    keys = {
        "s0": SessionKey({"policy": KEPT.digest}, {"policy": Private(KEPT.canonical.encode(), keep=True)}),
        "s1": SessionKey({"agent": {"name": "b"}}),
    }
    for session, key in keys.items():
        ledger.bind(session, key)
    for n, policy in enumerate((KEPT, GIVEN, LOST)):
        for session in ("s0", "s1"):
            intent = {"type": "intent", "session": session, "n": n, "decision": {"policy": policy.digest}}
            made = ledger.append(intent, private={"sql": SECRETS[0], "who": Private(SECRETS[1], keep=True)})
            ledger.append({"type": "note", "text": f"between {n}"})
            if (n, session) != (2, "s1"):
                outcome = {"type": "outcome", "session": session, "intent": made.entry_id, "status": "ok"}
                ledger.append(outcome, private={"result": SECRETS[2]})
    return keys


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Entries 3 to 12 of a small ledger; never changed by a test."""
    folder = tmp_path_factory.mktemp("evidence") / "out"
    with Ledger.open("sqlite:///:memory:", signer=SIGNER, clock_ns=Clock()) as ledger:
        keys = fill(ledger)
        export_evidence(ledger, folder, start=3, end=12, policies=[GIVEN])
        del keys
    return folder


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def files_of(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def reseal(folder: Path, change: Callable[[dict[str, object]], object] | None = None) -> None:
    """Writes the manifest anew over what is in the folder, as somebody would who hides a change."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] = {
        path: sha256((folder / path).read_bytes()).hexdigest() for path in files_of(folder) if path != "manifest.json"
    }
    if change is not None:
        change(manifest)
    manifest.pop("sha256", None)
    manifest["sha256"] = sha256(canonical_manifest(manifest)).hexdigest()
    (folder / "manifest.json").write_bytes(canonical_manifest(manifest))


def refused(folder: Path, key: str | Sequence[str] = KEY, **options: object) -> Report:
    report = verify_evidence(folder, key=key, **options)  # type: ignore[arg-type]
    assert not report.is_verified, report
    assert report.to_dict()["verified"] is False
    assert report.to_dict()["proven"] == []
    return report


def test_a_bundle_holds_what_an_auditor_needs(bundle: Path) -> None:
    report = verify_evidence(bundle, key=KEY)
    assert report.is_verified, report.problems
    facts = report.facts
    assert (facts["size"], facts["range"], facts["contained"], facts["cited"]) == (19, [3, 12], [0, 19], 9)
    assert facts["signatures"] == {"session": 13, "log": 6, "revoked": 0, "none": 0}
    assert facts["unknown"] == []
    assert facts["policies"] == {"held": 2, "missing": []}
    assert files_of(bundle) == sorted(
        [
            "README.txt",
            "checkpoint",
            "context.jsonl",
            "keys.json",
            "manifest.json",
            f"policies/{KEPT.digest}.json",
            f"policies/{GIVEN.digest}.json",
            *(f"proofs/{index}.tlog-proof" for index in (*range(12), 13)),
            "tile/0/000.p/19",
            "tile/entries/000.p/19",
            "verify.py",
        ]
    )
    said = "\n".join(report.not_proven)
    assert "no witness" in said
    assert "--since" in said


def test_its_files_are_those_of_the_specifications(bundle: Path) -> None:
    entries: list[bytes] = []
    for path in files_of(bundle):
        if path.startswith("tile/"):
            resource = parse_path(path)
            if isinstance(resource, BundleId):
                entries += decode_bundle((bundle / path).read_bytes(), resource.width)
    for index in range(3, 12):
        text = (bundle / f"proofs/{index}.tlog-proof").read_text()
        assert EntryProof.parse(text).verify(entries[index], SIGNER.verifier()).size == 19


def test_private_values_are_nowhere_in_it(bundle: Path) -> None:
    everything = b"".join((bundle / path).read_bytes() for path in files_of(bundle))
    assert b'"commitments":{"sql":"' in everything
    for value in SECRETS:
        assert value not in everything
        assert value.hex().encode() not in everything


def test_what_a_range_depends_on_comes_with_it(tmp_path: Path) -> None:
    with Ledger.open("sqlite:///:memory:", signer=SIGNER, clock_ns=Clock()) as ledger:
        key = SessionKey({})
        ledger.bind("s", key)
        ids = [ledger.append({"type": "intent", "session": "s"}).entry_id for _ in range(3)]
        ledger.append_many({"type": "note"} for _ in range(1000))
        ledger.append({"type": "outcome", "session": "s", "intent": ids[0]})
        ids.append(ledger.append({"type": "intent", "session": "s"}).entry_id)
        ledger.append({"type": "intent", "session": "s"})
        ledger.append_many({"type": "note"} for _ in range(1000))
        ledger.append({"type": "outcome", "session": "s", "intent": ids[3]})
        ledger.append({"type": "outcome", "session": "s", "intent": ids[2]})
        done = export_evidence(ledger, tmp_path / "out", start=1004, end=1007)
    lines = (tmp_path / "out" / "context.jsonl").read_bytes().splitlines()
    assert [int(str(decode(line)["id"])[:16], 16) for line in lines] == [0, 1, 2007]
    assert (done.context, done.cited) == (3, 3)
    report = verify_evidence(tmp_path / "out", key=KEY)
    assert report.is_verified, report.problems
    assert report.facts["unknown"] == [1006]
    assert "unknown: entry 1006" in "\n".join(report.not_proven)
    for name in ("0", "1", "2007", "1005"):
        copy = Path(shutil.copytree(tmp_path / "out", tmp_path / f"without-{name}"))
        (copy / f"proofs/{name}.tlog-proof").unlink()
        reseal(copy)
        refused(copy)


def test_every_flipped_byte_is_noticed(copy: Path) -> None:
    folder = Folder(str(copy))
    for path in files_of(copy):
        original = (copy / path).read_bytes()
        # The verifier is by far the longest file; like all of them it is held to its digest alone.
        for at in range(0, len(original), 16 if path == "verify.py" else 1):
            flipped = bytearray(original)
            flipped[at] ^= 1 << at % 8
            (copy / path).write_bytes(flipped)
            with pytest.raises(UNREADABLE):
                Folder(str(copy)) if path == "manifest.json" else folder.read(path)
            if at % 997 == 0:
                refused(copy)
        (copy / path).write_bytes(original)
    assert verify_evidence(copy, key=KEY).is_verified


def test_a_flipped_byte_is_noticed_too_where_the_manifest_was_made_to_fit(copy: Path) -> None:
    for path in files_of(copy):
        if path in ("manifest.json", "README.txt", "keys.json", "verify.py"):
            continue  # nothing in these is taken for true
        original = (copy / path).read_bytes()
        for at in range(len(path) % 13, len(original), 13):
            flipped = bytearray(original)
            flipped[at] ^= 1 << at % 8
            (copy / path).write_bytes(flipped)
            reseal(copy)
            refused(copy)
        (copy / path).write_bytes(original)
    reseal(copy)
    assert verify_evidence(copy, key=KEY).is_verified


def test_a_file_less_or_more_is_noticed(copy: Path, tmp_path: Path) -> None:
    for path in files_of(copy):
        place = copy / path
        data = place.read_bytes()
        place.unlink()
        refused(copy)
        if path != "manifest.json":
            reseal(copy)
            refused(copy)
        place.write_bytes(data)
        place.rename(place.with_name("other"))
        refused(copy)
        if path != "manifest.json":
            reseal(copy)
            refused(copy)
        place.with_name("other").rename(place)
        reseal(copy)
        assert verify_evidence(copy, key=KEY).is_verified
    for more in (
        "more.txt",
        "tile/0/001",
        "proofs/18.tlog-proof",
        f"policies/{LOST.digest}.json",
        "tile/1/000.p/1",
        "consistency",
    ):
        (copy / more).parent.mkdir(parents=True, exist_ok=True)
        (copy / more).write_bytes(b"x")
        refused(copy)
        reseal(copy)
        refused(copy)
        (copy / more).unlink()
        if not any((copy / more).parent.iterdir()):
            (copy / more).parent.rmdir()
    reseal(copy)
    assert verify_evidence(copy, key=KEY).is_verified
    (copy / "README.txt").rename(tmp_path / "elsewhere")
    (copy / "README.txt").symlink_to(tmp_path / "elsewhere")
    assert "neither a file nor a folder" in refused(copy).problems[0]


@pytest.mark.parametrize(
    "path", ["/etc/hostname", "../copy/checkpoint", "tile/../checkpoint", "proofs//3.tlog-proof", "a\\b", ""]
)
def test_the_manifest_leads_nowhere_else(copy: Path, path: str) -> None:
    def change(manifest: dict[str, object]) -> None:
        files = manifest["files"]
        assert isinstance(files, dict)
        files[path] = files.get("checkpoint")

    reseal(copy, change)
    refused(copy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "guardrails-evidence/2"),
        ("origin", "example.com/other"),
        ("size", 18),
        ("size", 19.0),
        ("root", ""),
        ("range", [3, 11]),
        ("range", [4, 12]),
        ("range", [3, 20]),
        ("range", [-1, 12]),
        ("range", None),
        ("range", [True, 12]),
        ("contained", [0, 12]),
        ("cited", [3]),
        ("cited", [3, 3]),
        ("cited", "some"),
        ("cited", [18]),
        ("context", []),
        ("context", [0, 1, 2, 3, 19]),
        ("context", {"0": 1}),
        ("since", {"size": 3, "root": ""}),
        ("times", {"from": None, "to": None, "at": 1}),
        ("policies_missing", ["0" * 64]),
        ("files", []),
        ("files", {"checkpoint": 1}),
    ],
)
def test_what_the_manifest_says_is_held_to_what_is_there(copy: Path, name: str, value: object) -> None:
    reseal(copy, lambda manifest: manifest.update({name: value}))
    refused(copy)


def test_a_manifest_is_in_one_form_only(copy: Path) -> None:
    manifest = (copy / "manifest.json").read_bytes()
    for changed in (manifest + b"\n", manifest.replace(b'"size": 19', b'"size":  19'), b"[]", b"", b"\xff", b"[" * 100_000):
        (copy / "manifest.json").write_bytes(changed)
        refused(copy)


def test_keys_come_from_elsewhere(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "log.pub").write_text(KEY + "\n")
    assert verify_evidence(copy, key=tmp_path / "log.pub").is_verified
    other = Ed25519Signer("example.com/log", b"o" * 32)
    assert verify_evidence(copy, key=[str(other.verifier()), KEY]).is_verified
    refused(copy, str(other.verifier()))
    refused(copy, str(Ed25519Signer("example.com/other", b"k" * 32).verifier()))
    for bad in ([], "", "nonsense+", KEY[:-4] + "AAA=", KEY.replace("+7", "+8")):
        with pytest.raises((UsageError, LedgerError)):
            verify_evidence(copy, key=bad)
    with pytest.raises(UsageError):
        verify_evidence(tmp_path / "nowhere", key=KEY)


def test_the_text_of_a_policy_that_is_nowhere_is_said_to_be_missing(tmp_path: Path) -> None:
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        keys = fill(ledger)
        done = export_evidence(ledger, tmp_path / "out")
        assert done.missing_policies == tuple(sorted((GIVEN.digest, LOST.digest)))
        with pytest.raises(UsageError):
            export_evidence(ledger, tmp_path / "out")
        del keys
    report = verify_evidence(tmp_path / "out", key=KEY)
    assert report.is_verified
    assert LOST.digest in "\n".join(report.not_proven)
    assert report.facts["unknown"] == [17]


def test_an_export_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        ledger.append_many({"n": n} for n in range(20))

        def fail(done: int, total: int) -> None:
            raise RuntimeError("stopped")

        with pytest.raises(RuntimeError):
            export_evidence(ledger, tmp_path / "out", progress=fail)
        assert os.listdir(tmp_path) == []
        for start, end in ((0, 21), (1, 0), (-1, 1)):
            with pytest.raises(LedgerError):
                export_evidence(ledger, tmp_path / "out", start=start, end=end)
        for cited in ([20], [-1]):
            with pytest.raises(LedgerError):
                export_evidence(ledger, tmp_path / "out", cited=cited)
        with pytest.raises(LedgerError):
            export_evidence(ledger, tmp_path / "out", start=3, cited=[2])
        assert os.listdir(tmp_path) == []
        (tmp_path / "there").write_text("")
        with pytest.raises(UsageError):
            export_evidence(ledger, tmp_path / "there")
        with pytest.raises(UsageError):
            export_evidence(ledger, tmp_path / "there" / "below")


def test_cited_entries_alone_have_proofs(tmp_path: Path) -> None:
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        ledger.append_many({"n": n} for n in range(600))
        done = export_evidence(ledger, tmp_path / "out", cited=[300, 299, 310])
    assert (done.start, done.end, done.cited) == (299, 311, 3)
    report = verify_evidence(tmp_path / "out", key=KEY)
    assert report.is_verified, report.problems
    assert sorted(os.listdir(tmp_path / "out" / "proofs")) == [f"{i}.tlog-proof" for i in (0, 299, 300, 310)]
    assert [p for p in files_of(tmp_path / "out") if p.startswith("tile/")] == [
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/001",
    ]


def test_a_range_of_times_is_complete(tmp_path: Path) -> None:
    with Ledger.open("sqlite:///:memory:", signer=SIGNER, clock_ns=Clock()) as ledger:
        for n in range(20):
            ledger.append({"n": n})  # at 09:00:02 and every second from then on, the opening having looked once or not

        def export(name: str, **options: str | int) -> tuple[int, int]:
            done = export_evidence(ledger, tmp_path / name, **options)  # type: ignore[arg-type]
            report = verify_evidence(tmp_path / name, key=KEY)
            assert report.is_verified, report.problems
            return done.start, done.end

        times = [str(entry["time"]) for entry in ledger.entries()]
        assert export("some", from_time=times[5], to_time=times[9]) == (5, 9)
        assert export("offset", from_time=times[5].replace("T09", "T10").replace("Z", "+01:00"), to_time=times[9]) == (5, 9)
        assert export("day", from_time="2026-03-01", to_time="2026-03-02") == (0, 20)
        assert export("from", from_time=times[19]) == (19, 20)
        assert export("to", to_time=times[1]) == (0, 1)
        assert export("none", from_time="2026-03-02") == (20, 20)
        assert export("before", to_time="2026-03-01") == (0, 0)
        for bad in (
            {"from_time": "yesterday"},
            {"from_time": "2026-03-01T09:00:00"},
            {"from_time": "2026-13-01"},
            {"from_time": times[3], "start": 1},
            {"from_time": times[3], "end": 9},
            {"from_time": times[3], "to_time": times[3]},
        ):
            with pytest.raises(UsageError):
                export("bad", **bad)  # type: ignore[arg-type]
    for change in (
        {"range": [6, 9], "contained": [0, 20]},
        {"range": [5, 8]},
        {"range": [4, 9]},
        {"times": {"from": times[4], "to": times[9]}},
        {"times": {"from": times[5], "to": times[8]}},
        {"times": {"from": times[5], "to": None}},
        {"times": {"from": times[5]}},
        {"times": {"from": times[5][:-1], "to": times[9]}},
        {"times": {"from": times[5], "to": times[9].replace("Z", "+00:00")}},
    ):
        copy = Path(shutil.copytree(tmp_path / "some", tmp_path / "changed"))
        reseal(copy, lambda manifest, change=change: manifest.update(change))  # type: ignore[misc]
        refused(copy)
        shutil.rmtree(copy)


def test_an_earlier_checkpoint_is_proven_to_be_contained(tmp_path: Path) -> None:
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        empty = ledger.checkpoint()
        ledger.append_many({"n": n} for n in range(300))
        since = ledger.checkpoint()
        ledger.append_many({"n": n} for n in range(300))
        for name, note in (("some", since), ("none", empty), ("all", ledger.checkpoint())):
            export_evidence(ledger, tmp_path / name, start=290, end=310, since=note)
            report = verify_evidence(tmp_path / name, key=KEY, since=note)
            assert report.is_verified, report.problems
            assert not any("--since" in line for line in report.not_proven)
            assert verify_evidence(tmp_path / name, key=KEY).is_verified
        (tmp_path / "checkpoint").write_text(since)
        export_evidence(ledger, tmp_path / "file", end=1, since=tmp_path / "checkpoint")
        assert verify_evidence(tmp_path / "file", key=KEY, since=tmp_path / "checkpoint").facts["since"] == 300
    assert "ask for one" in refused(tmp_path / "none", since=since).problems[0]
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as fork:
        fork.append_many({"n": -n} for n in range(300))
        assert "rewritten" in refused(tmp_path / "some", since=fork.checkpoint()).problems[0]
        with pytest.raises(TamperedError):
            export_evidence(fork, tmp_path / "fork", since=since)
        fork.append_many({"n": n} for n in range(500))
        assert "rolled back" in refused(tmp_path / "some", since=fork.checkpoint()).problems[0]
    copy = Path(shutil.copytree(tmp_path / "some", tmp_path / "copy"))
    proof = (copy / "consistency").read_bytes()
    for changed in (proof[:45], b"", proof + proof[:45], proof[45:], proof[:-1], b"AAAA\n" + proof):
        (copy / "consistency").write_bytes(changed)
        reseal(copy)
        refused(copy, since=since)
        refused(copy)
    with pytest.raises(UsageError):
        verify_evidence(tmp_path / "some", key=KEY, since="no\nnote")


def test_a_ledger_whose_key_was_rotated(tmp_path: Path) -> None:
    second, third = (Ed25519Signer("example.com/log", letter * 32) for letter in (b"l", b"m"))
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        keys = fill(ledger)
        since = ledger.checkpoint()
        rotate_key(ledger, second, reason="yearly")
        ledger.append({"type": "note"})
        retire_key(ledger, SIGNER.verifier(), reason="done")
        ledger.append_many({"type": "note"} for _ in range(300))
        rotate_key(ledger, third, reason="leaked")
        revoke_key(ledger, second.verifier(), from_size=ledger.size - 1, reason="leaked")
        ledger.append_many({"type": "note"} for _ in range(300))
        size = ledger.size
        for start, end in ((0, size), (3, 5), (18, 25), (size - 310, size - 300), (size - 3, size)):
            export_evidence(ledger, tmp_path / f"{start}", start=start, end=end, since=since)
            for key in (SIGNER, second, third):
                report = verify_evidence(tmp_path / f"{start}", key=str(key.verifier()), since=since)
                assert report.is_verified, report.problems
                assert len(report.facts["keys"]) == 3
        del keys
    copy = tmp_path / f"{size - 3}"
    lines = (copy / "context.jsonl").read_bytes().splitlines(keepends=True)
    indexes = [int(str(decode(line.rstrip())["id"])[:16], 16) for line in lines]
    for place, index in enumerate(indexes):  # one of those that the rest depends on is left out
        missing = Path(shutil.copytree(copy, tmp_path / f"without-{index}"))
        (missing / "context.jsonl").write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
        (missing / f"proofs/{index}.tlog-proof").unlink()

        def change(manifest: dict[str, object], index: int = index) -> None:
            context = manifest["context"]
            assert isinstance(context, list)
            context.remove(index)

        reseal(missing, change)
        if decode(lines[place].rstrip()).get("type") == "key.revoke":
            # It is the last one about keys. That no later one exists cannot be told from a part of the log; the report says so.
            report = verify_evidence(missing, key=KEY)
            assert "not shown" in "\n".join(report.not_proven)
        else:
            refused(missing)


def test_a_ledger_whose_old_entries_are_in_an_archive(tmp_path: Path) -> None:
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        key = SessionKey({"policy": KEPT.digest}, {"policy": Private(KEPT.canonical.encode(), keep=True)})
        ledger.bind("s", key)
        ledger.append_many({"type": "note", "session": "s"} for _ in range(700))
        archive(ledger, DirectoryTarget(tmp_path / "archive"), 600)
        assert ledger.archived == 512
        with pytest.raises(LedgerError, match="archive"):
            export_evidence(ledger, tmp_path / "none", start=600, end=610)
        for start, end in ((600, 610), (500, 520), (0, 10)):
            done = export_evidence(
                ledger, tmp_path / f"{start}", start=start, end=end, archive=DirectoryTarget(tmp_path / "archive")
            )
            report = verify_evidence(done.directory, key=KEY)
            assert report.is_verified, report.problems


def test_what_witnesses_cosigned_is_what_everything_is_proven_to(tmp_path: Path) -> None:
    witness = Witness("witness.example", b"w" * 32)
    with Ledger.open("sqlite:///:memory:", signer=SIGNER) as ledger:
        ledger.append_many({"type": "note"} for _ in range(20))
        cosigned = witness.cosigned(ledger.checkpoint())
        ledger.submit(Request([], lambda head: replace(head, published=cosigned)))
        ledger.append_many({"type": "note"} for _ in range(20))
        assert export_evidence(ledger, tmp_path / "some", start=3, end=20).checkpoint.size == 20
        assert export_evidence(ledger, tmp_path / "more", start=3, end=21).checkpoint.size == 40
        since = ledger.checkpoint()
        assert export_evidence(ledger, tmp_path / "since", start=3, end=20, since=since).checkpoint.size == 40
    assert verify_evidence(tmp_path / "some", key=KEY, witnesses=[witness.key]).is_verified
    refused(tmp_path / "more", witnesses=[witness.key])
