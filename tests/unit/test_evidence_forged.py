"""What the holder of the log's key, of a session's key or of the bundle can and cannot make an auditor believe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from guardrails.errors import UsageError
from guardrails.ledger.entry import format_time
from guardrails.ledger.evidence import Report, export_evidence, verify_evidence
from guardrails.ledger.evidence.verifier import UNREADABLE, read_entry
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.note import base64_text
from guardrails.ledger.signing import SessionKey, key_id
from tests.support.evidence import ORIGIN, HandMade, HandMadeLog, Witness, foreign_note, log_key

FIRST, SECOND, THIRD = (Ed25519Signer(ORIGIN, letter * 32) for letter in (b"k", b"l", b"m"))
KEYS = [str(signer.verifier()) for signer in (FIRST, SECOND, THIRD)]


@pytest.fixture
def judge(tmp_path: Path) -> Callable[..., Report]:
    """Exports a log and verifies the bundle."""
    count = iter(range(100))

    def judged(
        log: HandMade | HandMadeLog, key: str | list[str] = KEYS[0], start: int = 0, end: int | None = None, **options: object
    ) -> Report:
        folder = tmp_path / str(next(count))
        source = log.log() if isinstance(log, HandMade) else log
        note = options.pop("checkpoint", None)
        since = options.get("since") if options.pop("is_proven", True) else None
        export_evidence(source, folder, start=start, end=end, checkpoint=note, since=since)  # type: ignore[arg-type]
        return verify_evidence(folder, key=key, **options)  # type: ignore[arg-type]

    return judged


def problems(report: Report) -> str:
    assert not report.is_verified
    return "\n".join(report.problems)


def conversation(entries: int = 8, *, leave_out: int | None = None) -> HandMade:
    """A log in which only the log's key signs, so that its holder can write it anew."""
    made = HandMade(FIRST)
    for n in range(entries):
        if n != leave_out:
            made.add({"type": "note", "session": "s", "n": n})
    return made


def test_entries_left_out_by_the_holder_of_the_log_key(judge: Callable[..., Report]) -> None:
    whole, cut = conversation(), conversation(leave_out=4)
    report = judge(cut)
    # Nothing contradicts itself, so what is missing is named instead.
    assert report.is_verified
    assert "no witness was given" in "\n".join(report.not_proven)
    assert "--since" in "\n".join(report.not_proven)
    since = HandMadeLog(whole.entries[:6], FIRST).checkpoint()
    assert judge(whole, since=since).is_verified
    with pytest.raises(Exception, match="does not contain"):
        judge(cut, since=since)
    assert "ask for one" in problems(judge(cut, since=since, is_proven=False))
    assert "rolled back" in problems(judge(cut, since=whole.log().checkpoint(), is_proven=False))
    same = conversation(9, leave_out=4)
    assert "rewritten" in problems(judge(same, since=whole.log().checkpoint(), is_proven=False))
    witness = Witness("witness.example", b"w" * 32)
    seen = witness.cosigned(whole.log().checkpoint())
    assert judge(whole, checkpoint=seen, witnesses=[witness.key]).is_verified
    assert "0 witnesses cosigned" in problems(judge(cut, witnesses=[witness.key]))
    moved = cut.log().checkpoint() + seen[len(whole.log().checkpoint()) :]
    assert "does not hold" in problems(judge(cut, checkpoint=moved, witnesses=[witness.key]))


def test_entries_of_a_session_with_a_key_cannot_be_left_out(judge: Callable[..., Report]) -> None:
    made = HandMade(FIRST)
    made.begin("s")
    for n in range(6):
        made.add({"type": "note", "session": "s", "n": n})
    for place in range(6):
        cut = HandMadeLog(made.entries[:place] + made.entries[place + 1 :], FIRST)
        assert "another place" in problems(judge(cut))
    # But their end can be cut off: that is what witnesses and earlier checkpoints are for.
    assert judge(HandMadeLog(made.entries[:-1], FIRST)).is_verified


def test_witnesses_and_quorum(judge: Callable[..., Report]) -> None:
    log = conversation().log()
    witnesses = [Witness(f"w{n}.example", bytes([n]) * 32) for n in range(3)]
    keys = [witness.key for witness in witnesses]
    note = witnesses[1].cosigned(witnesses[0].cosigned(log.checkpoint()))
    report = judge(log, checkpoint=note, witnesses=keys, quorum=2)
    assert report.is_verified
    assert [found["name"] for found in report.facts["witnesses"]] == ["w0.example", "w1.example"]
    assert "w0.example at POSIX time 1760000000" in "\n".join(report.proven)
    assert not any("witness" in line for line in report.not_proven)
    assert "missing: w2.example" in problems(judge(log, checkpoint=note, witnesses=keys))
    assert judge(log, checkpoint=note).is_verified
    twice = witnesses[0].cosigned(note, 1_760_000_001)
    assert not judge(log, checkpoint=twice, witnesses=keys, quorum=1).is_verified
    for quorum, given in ((-1, keys), (4, keys), (1, []), (1, [keys[0], keys[0]]), (1, [KEYS[0]])):
        with pytest.raises(UsageError):
            judge(log, checkpoint=note, witnesses=given, quorum=quorum)
    with pytest.raises(UsageError):
        judge(log, key=keys[0])


def test_a_bundle_under_another_key(judge: Callable[..., Report]) -> None:
    for signer in (SECOND, Ed25519Signer("example.com/other", b"k" * 32)):
        made = HandMade(signer)
        made.add({"type": "note"})
        assert "trusted key" in problems(judge(made))
    log = conversation().log()
    assert judge(log, checkpoint=log.signed_by([SECOND, FIRST])).is_verified
    assert "trusted key" in problems(judge(log, checkpoint=foreign_note(log.checkpoint(), SECOND)))
    assert "trusted key" in problems(judge(log, KEYS[1]))
    wrong = log.checkpoint().rpartition("\n\n")[0] + "\n\n" + conversation(9).log().checkpoint().rpartition("\n\n")[2]
    assert "does not hold" in problems(judge(log, checkpoint=wrong))


def test_a_session_speaks_with_its_own_key_only(judge: Callable[..., Report]) -> None:
    made = HandMade(FIRST)
    made.begin("s")
    intent = made.add({"type": "intent", "session": "s"})
    assert judge(made).is_verified
    made.add({"type": "note", "session": "s"}, key=log_key(FIRST))
    assert "entry 2: it is signed with a key that has no say" in problems(judge(made))
    # Also where the entry that binds the key lies far outside of the range.
    for _ in range(600):
        made.add({"type": "note"})
    made.add({"type": "note", "session": "s"}, key=log_key(FIRST))
    assert "no say" in problems(judge(made, start=603))
    made.entries.pop()
    made.next_seq["s"] -= 1
    made.add({"type": "outcome.unknown", "session": "s", "intent": intent}, key=log_key(FIRST))
    report = judge(made, start=603)
    assert report.is_verified, report.problems
    assert report.facts["signatures"]["log"] > 0


def test_two_keys_for_one_session(judge: Callable[..., Report]) -> None:
    made = HandMade(FIRST)
    made.begin("s")
    made.begin("s")
    assert "a session that has begun" in problems(judge(made))
    made = HandMade(FIRST)
    key = SessionKey({})
    for field, value in (("id", "0" * 16), ("algorithm", "rsa"), ("public", "AAAA"), ("public", None)):
        bad = HandMade(FIRST)
        binding = key.binding("s")
        binding["key"] = {**dict(binding["key"]), field: value}  # type: ignore[call-overload]
        bad.add(binding, key=key)
        problems(judge(bad))
    small = HandMade(FIRST)
    binding = key.binding("s")
    identity = (1).to_bytes(32, "little")
    binding["key"] = {"algorithm": "ed25519", "id": key_id(identity), "public": base64_text(identity)}
    small.add(binding, key=key)
    assert "safe" in problems(judge(small))


@pytest.mark.parametrize(
    ("stamps", "what"),
    [
        ({"seq": 3}, "missing or double"),
        ({"seq": 1}, "missing or double"),
        ({"seq": "2"}, "malformed"),
        ({"seq": True}, "malformed"),
        ({"id": "0" * 32}, "another place"),
        ({"id": "x" * 32}, "32 hexadecimal digits"),
        ({"id": f"{2:016X}" + "A" * 16}, "32 hexadecimal digits"),
        ({"time": format_time(1)}, "before that of an earlier entry"),
        ({"time": "2099-02-30T00:00:00.000000Z"}, "malformed"),
        ({"time": "2099-01-01T00:00:00Z"}, "RFC 3339"),
        ({"time": 1}, "RFC 3339"),
        ({"v": 3}, "version 2"),
        ({"v": 1}, "version 2"),
        ({"v": True}, "version 2"),
        ({"writer": {"host": "h"}}, "writer"),
        ({"writer": None}, "malformed"),
        ({"commitments": {"sql": "short"}}, "commitments"),
        ({"commitments": []}, "malformed"),
        ({"session": 7}, "malformed"),
    ],
)
def test_a_stamp_that_contradicts(judge: Callable[..., Report], stamps: dict[str, object], what: str) -> None:
    made = HandMade(FIRST)
    made.begin("s")
    made.add({"type": "note", "session": "s"})
    made.add({"type": "note", "session": "s"}, **stamps)
    said = problems(judge(made))
    assert said.startswith("entry 2: ")
    assert what in said


def test_intents_and_outcomes(judge: Callable[..., Report]) -> None:
    def made(*outcomes: str, intent: str | None = None) -> HandMade:
        log = HandMade(FIRST)
        entry_id = log.add({"type": "intent"})
        for kind in outcomes:
            log.add({"type": kind, "intent": intent or entry_id})
        return log

    assert judge(made("outcome")).facts["unknown"] == []
    assert judge(made()).facts["unknown"] == [0]
    assert judge(made("outcome.unknown")).facts["unknown"] == [0]
    assert judge(made("outcome.unknown", "outcome")).facts["unknown"] == []
    for wrong in (("outcome", "outcome"), ("outcome", "outcome.unknown"), ("outcome.unknown", "outcome.unknown")):
        assert "second outcome" in problems(judge(made(*wrong)))
    assert "not shown before it" in problems(judge(made("outcome", intent="f" * 32)))
    assert "not shown before it" in problems(judge(made("outcome", intent="none")))


def test_an_entry_that_is_not_canonical(judge: Callable[..., Report], tmp_path: Path) -> None:
    good = conversation(3)
    for change in (
        lambda leaf: leaf.replace(b'"n":2', b'"n": 2'),
        lambda leaf: leaf.replace(b'"n":2', b'"n":2.0'),
        lambda leaf: leaf.replace(b'"n":2', b'"n":-0'),
        lambda leaf: leaf.replace(b'"n":2', b'"n":9007199254740993'),
        lambda leaf: leaf.replace(b'"n":2', b'"n":NaN'),
        lambda leaf: leaf.replace(b'"n":2', b'"n":2,"n":2'),
        lambda leaf: leaf.replace(b'"n":2', '"é":2'.encode()),
        lambda leaf: leaf.replace(b'"n":2', b'"n":"\\ud800"'),
        lambda leaf: leaf.replace(b'"n":2', b'"n":"\\u00e9"'),
        lambda leaf: leaf.replace(b'"n":2', b'"n":' + b"[" * 33 + b"]" * 33),
        lambda leaf: leaf.replace(b'"n":2', b'"n":' + b"[" * 30_000),
        lambda leaf: leaf.replace(b'"n":2', b'"n":"\xff"'),
        lambda leaf: leaf.replace(b'"n":2', b'"n":3'),
        lambda leaf: leaf.replace(b'"sig"', b'"sIg"'),
        lambda leaf: leaf[: leaf.index(b'"sig":')] + b'"sig":{},' + leaf[leaf.index(b'"time"') :],
        lambda leaf: b"[]",
        lambda leaf: b"",
    ):
        bad = change(good.entries[2])
        try:
            read_entry(bad)
        except UNREADABLE:
            continue
        # Well formed, so the signature must tell.
        source = HandMadeLog([*good.entries[:2], bad], FIRST)
        assert "sign" in problems(judge(source))


def rotated() -> HandMade:
    """Two rotations; entries 0 and 1 under the first key, the second key from 2 on, the third from 5 on."""
    made = conversation(2)
    made.rotate(SECOND)
    made.add({"type": "note"})
    made.add({"type": "note"})
    made.rotate(THIRD)
    made.add({"type": "note"})
    return made


def test_any_key_of_the_log_leads_to_the_one_that_signs(judge: Callable[..., Report]) -> None:
    log = rotated()
    for key in KEYS:
        report = judge(log, key)
        assert report.is_verified, report.problems
        assert report.facts["keys"] == KEYS
    assert "2 rotation(s)" in "\n".join(judge(log, KEYS[0]).proven)
    assert "trusted key is not among" in problems(judge(log, str(Ed25519Signer(ORIGIN, b"x" * 32).verifier())))
    for start, end in ((0, 1), (3, 4), (6, 7)):
        assert judge(log, KEYS[0], start, end).is_verified
    since = HandMadeLog(log.entries[:2], FIRST).checkpoint()
    assert judge(log, KEYS[2], since=since).is_verified
    # A checkpoint by a key that came in only later.
    assert "not signed by a key" in problems(judge(log, since=HandMadeLog(log.entries[:2], SECOND).checkpoint()))


def test_a_key_that_nobody_brought_in(judge: Callable[..., Report]) -> None:
    made = conversation(2)
    made.signer = SECOND
    made.add({"type": "note"})
    for key in KEYS[:2]:
        problems(judge(made, key))
    thief = Ed25519Signer(ORIGIN, b"t" * 32)
    made = conversation(2)
    made.rotate(SECOND, endorsed_by=thief)
    assert "does not endorse" in problems(judge(made))
    made = conversation(2)
    made.rotate(Ed25519Signer("example.com/other", b"l" * 32))
    assert "does not follow" in problems(judge(made))
    made = rotated()
    made.rotate(FIRST)
    assert "does not follow" in problems(judge(made))
    made = conversation(2)
    made.rotate(SECOND, old=KEYS[2])
    problems(judge(made))
    made = conversation(2)
    made.rotate(SECOND, endorsements=None)
    problems(judge(made))


def test_keys_change_in_their_own_session(judge: Callable[..., Report]) -> None:
    made = conversation(2)
    made.rotate(SECOND, session="other")
    assert not judge(made).is_verified
    made = rotated()
    made.add({"type": "note", "session": "log.keys"})
    assert judge(made, start=0, end=1).is_verified
    made.next_seq["log.keys"] += 1
    made.add({"type": "note", "session": "log.keys"})
    assert "missing or double" in problems(judge(made, start=0, end=1))


def test_a_retired_key_signs_nothing_any_more(judge: Callable[..., Report]) -> None:
    made = rotated()
    made.end_key("key.retire", FIRST.verifier())
    made.add({"type": "note"})
    log = made.log()
    assert judge(made).is_verified
    assert judge(log, checkpoint=log.signed_by([FIRST, THIRD])).is_verified
    assert "not signed by the trusted key" in problems(judge(log, checkpoint=log.signed_by([FIRST])))
    made.add({"type": "note"}, key=log_key(FIRST))
    assert "no say" in problems(judge(made))
    made = rotated()
    made.end_key("key.retire", FIRST.verifier())
    made.end_key("key.retire", FIRST.verifier())
    assert "cannot be" in problems(judge(made))
    made = rotated()
    made.end_key("key.retire", THIRD.verifier())
    problems(judge(made))


def test_a_revoked_key_counts_for_earlier_trees_only(judge: Callable[..., Report]) -> None:
    made = rotated()
    made.end_key("key.revoke", FIRST.verifier(), 2)
    made.add({"type": "note"})
    report = judge(made)
    assert report.is_verified, report.problems
    assert "revoked key" in "\n".join(report.not_proven)
    log = made.log()
    assert not judge(log, checkpoint=log.signed_by([FIRST])).is_verified
    early, late = (HandMadeLog(made.entries[:size], FIRST).checkpoint() for size in (1, 2))
    assert judge(log, since=early).is_verified
    assert "not signed by a key" in problems(judge(log, since=late))
    for size in (0, 100):
        made = rotated()
        made.end_key("key.revoke", FIRST.verifier(), size)
        assert "cannot be" in problems(judge(made))


def test_first_format_entries_are_shown_without_signatures(judge: Callable[..., Report]) -> None:
    made = HandMade(FIRST)
    made.add({"type": "note"}, v=1, id="ab" * 16)
    made.add({"type": "note"})
    report = judge(made)
    assert report.is_verified, report.problems
    assert "format 1" in "\n".join(report.not_proven)
