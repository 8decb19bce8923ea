"""Policies in C2SP tlog-policy form: what they accept, and which cosignatures are enough."""

from __future__ import annotations

import pytest

from guardrails.errors import LedgerError
from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.cosignature import Cosigner, cosign_note
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.note import Verifier
from guardrails.ledger.signature_types import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44
from guardrails.ledger.witnessing.quorum import parse_policy

LOG = Ed25519Signer("example.com/log", b"s" * 32)
X = [Cosigner(f"x{n}.example", bytes([n]) * 32) for n in (1, 2, 3)]
Y = [Cosigner(f"y{n}.example", bytes([n + 10]) * 32, COSIGNATURE_ML_DSA_44) for n in (1, 2)]
NOTE = sign_checkpoint(Checkpoint("example.com/log", 5, leaf_hash(b"x")), LOG)
LOG_LINE = f"log {LOG.verifier()}\n"
WITNESSES = "".join(
    f"witness {kind}{n} {w.verifier()}\n" for kind, group in (("X", X), ("Y", Y)) for n, w in enumerate(group, 1)
)
TEXT = f"""# Two organisations
{LOG_LINE}
{WITNESSES}group X-witnesses 2 X1 X2 X3
 group\tY-witnesses  any Y1 Y2\t
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def note(*signers: Cosigner) -> str:
    return cosign_note(NOTE, signers, time_s=5)


def test_a_quorum_of_groups() -> None:
    policy = parse_policy(TEXT)
    assert policy.is_met(note(X[0], X[2], Y[1]))
    assert policy.is_met(note(*X, *Y))
    for signers in ([], X, X[:1] + Y, Y):
        assert not policy.is_met(note(*signers)), signers
    with pytest.raises(LedgerError, match="not the quorum X-and-Y") as caught:
        policy.check(note(X[1]))
    assert caught.value.evidence == {"cosigned": ["X2"], "missing": ["X1", "X3", "Y1", "Y2"]}


def test_a_policy_has_one_canonical_text() -> None:
    policy = parse_policy(TEXT)
    text = str(policy)
    assert parse_policy(text) == policy
    assert str(parse_policy(text)) == text
    assert "group Y-witnesses 1 Y1 Y2\n" in text


def test_a_cosignature_that_does_not_hold_spoils_the_note() -> None:
    policy = parse_policy(TEXT)
    good = note(X[0], X[1], Y[0])
    bad = good.replace(NOTE.split("\n")[2], Checkpoint("o", 1, leaf_hash(b"z")).__str__().split("\n")[2])
    with pytest.raises(LedgerError):
        policy.is_met(bad)


def test_only_logs_of_the_policy_count() -> None:
    other = Ed25519Signer("other.example", b"o" * 32)
    policy = parse_policy(f"log {other.verifier()}\n{WITNESSES}quorum X1\n")
    with pytest.raises(LedgerError, match="No log of the policy"):
        policy.check(note(X[0]))
    misnamed = sign_checkpoint(Checkpoint("example.com/log", 5, leaf_hash(b"x")), other)
    with pytest.raises(LedgerError, match="No log of the policy"):
        policy.check(cosign_note(misnamed, [X[0]], time_s=5))
    assert parse_policy(f"{WITNESSES}quorum X1\n").is_met(note(X[0]))


def test_a_cosignature_without_a_time_is_no_witness() -> None:
    policy = parse_policy(f"{WITNESSES}group g any X1 Y1\nquorum g\n")
    for signer in (X[0], Y[0]):
        assert not policy.is_met(cosign_note(NOTE, [signer], time_s=0))
        assert policy.is_met(cosign_note(NOTE, [signer], time_s=1))


def test_no_quorum_is_a_choice_that_is_written_down() -> None:
    assert parse_policy(f"{LOG_LINE}quorum none\n").is_met(NOTE)
    assert parse_policy("quorum none\n").is_met(NOTE)
    assert not parse_policy(f"{WITNESSES}quorum X1\n").is_met(NOTE)


def test_urls_and_octets_above_ascii_are_kept() -> None:
    data = f"witness K {X[0].verifier()} https://x.example/w\nwitness \u212a {X[1].verifier()}\nquorum \u212a\n# ".encode()
    policy = parse_policy(data + b"\xff\xe9\n")
    assert policy.witnesses[0].url == "https://x.example/w"
    assert policy.is_met(note(X[1]))
    assert not policy.is_met(note(X[0]))


W1 = f"witness X1 {X[0].verifier()}\n"
W2 = f"witness X2 {X[1].verifier()}\n"
RENAMED = Verifier("renamed", X[0].verifier().public_key, COSIGNATURE_ED25519)


@pytest.mark.parametrize(
    "text",
    [
        "",
        W1,
        f"{W1}quorum X1",
        f"{W1}quorum X1\nquorum X1\n",
        f"quorum X1\n{W1}",
        f"{W1}quorum X2\n",
        f"{W1}quorum\n",
        f"{W1}quorum X1 X1\n",
        f"{W1}{W1}quorum X1\n",
        f"{W1}witness X2 {RENAMED}\nquorum X1\n",
        f"{LOG_LINE}{LOG_LINE}quorum none\n",
        f"witness none {X[0].verifier()}\nquorum none\n",
        f"witness X1 {LOG.verifier()}\nquorum X1\n",
        f"{W1}group g 0 X1\nquorum g\n",
        f"{W1}group g 2 X1\nquorum g\n",
        f"{W1}group g 01 X1\nquorum g\n",
        f"{W1}group g +1 X1\nquorum g\n",
        f"{W1}group g 1_0 X1\nquorum g\n",
        f"{W1}group g ١ X1\nquorum g\n",
        f"{W1}group g any\nquorum g\n",
        f"{W1}group g\nquorum g\n",
        f"{W1}group g any X1 X1\nquorum g\n",
        f"{W1}group g any X2\nquorum g\n",
        f"{W1}group g any none\nquorum g\n",
        f"{W1}group g any g\nquorum g\n",
        f"{W1}group X1 any X1\nquorum X1\n",
        f"{W1}{W2}group a any X1 X2\ngroup b any X1\nquorum b\n",
        f"{W1}quorum X1\r\n",
        f"{W1}quorum X1\n\x00\n",
        f"{W1}quorum\u2003X1\n",
        f"{W1}quorum X1 # the one\n",
        f"{W1[:-1]} url more\nquorum X1\n",
        f"Witness X1 {X[0].verifier()}\nquorum X1\n",
        "log key\nquorum none\n",
        "log\nquorum none\n",
    ],
)
def test_what_the_specification_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(LedgerError) as caught:
        parse_policy(text)
    assert caught.value.code == "ledger.witness_policy"
