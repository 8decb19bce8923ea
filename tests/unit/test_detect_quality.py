"""Precision and recall on generated texts, span by span; what may not be found; what must be seen through."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from guardrails.masking import find
from guardrails.masking.detect import KINDS
from tests.support.personal_data import samples

SEED = int(os.environ.get("GUARDRAILS_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
F1_AT_LEAST = {"email": 0.98, "phone": 0.93, "card": 0.98, "iban": 0.98, "ssn": 0.96, "secret": 0.97}


def test_precision_and_recall() -> None:
    print(f"GUARDRAILS_TEST_SEED={SEED}")
    right, found_count, wanted_count, wrong = Counter[str](), Counter[str](), Counter[str](), []
    for sample in samples(SEED, 3_000):
        found = {(span.start, span.end, span.kind) for span in find(sample.text)}
        right.update(kind for _, _, kind in found & sample.spans)
        found_count.update(kind for _, _, kind in found)
        wanted_count.update(kind for _, _, kind in sample.spans)
        wrong += [(kind, sample.text[start:end], sample.text) for start, end, kind in found ^ sample.spans]
    scores = {kind: 2 * right[kind] / (found_count[kind] + wanted_count[kind]) for kind in KINDS}
    print(scores)
    print(*wrong[:20], sep="\n")
    assert all(scores[kind] >= F1_AT_LEAST[kind] for kind in KINDS)
    assert 2 * right.total() / (found_count.total() + wanted_count.total()) >= 0.97


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("４１１１ １１１１ １１１１ １１１１", "card", "４１１１ １１１１ １１１１ １１１１"),
        ("x 4111\u200b1111\u200d1111\u20601111 y", "card", "4111\u200b1111\u200d1111\u20601111"),
        ("pay ٤١١١١١١١١١١١١١١١", "card", "٤١١١١١١١١١١١١١١١"),
        ("4111–1111–1111–1111", "card", "4111–1111–1111–1111"),
        ("4111\u00a01111\u00a01111\u00a01111", "card", "4111\u00a01111\u00a01111\u00a01111"),
        ("ana＠example．com", "email", "ana＠example．com"),
        ("a\u00adna@exa\u200bmple.com!", "email", "a\u00adna@exa\u200bmple.com"),
        ("\U0001f600 ana@example.com", "email", "ana@example.com"),
        ("𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏", "card", "𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏"),
        ("７８-０5-1120 078\u201105\u20111120", "ssn", "078\u201105\u20111120"),
        ('{"to":"ana@example.com"}', "email", "ana@example.com"),
        ("7,4111111111111111,3", "card", "4111111111111111"),
        ("4111 1111 1111 1111 123", "card", "4111 1111 1111 1111"),
        ("2024 4111 1111 1111 1111 999999999999999999999999", "card", "4111 1111 1111 1111"),
        ("de89 3704 0044 0532 0130 00 BIC", "iban", "de89 3704 0044 0532 0130 00"),
        ("postgres://app:s3cr3tpw@db.example.com/x", "secret", "s3cr3tpw"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE1 cut", "secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIE1 cut"),
    ],
)
def test_found_in_disguise(text: str, kind: str, part: str) -> None:
    assert [(span.kind, text[span.start : span.end]) for span in find(text)] == [(kind, part)]


@pytest.mark.parametrize(
    "text",
    [
        "", "a@b", "@@@@", "4111 1111 1111 1112", "1234567890123456", "123456789", "666-12-1234", "900-12-1234", "DE89370400440532013001",
        "01.02.2024 10:30", "192.168.10.12", "0-306-40615-2", "3.4111111111111111", "2012345678901", "+0100", "555-1234",
    ],
)  # fmt: skip
def test_not_found(text: str) -> None:
    assert find(text) == []


def test_the_columns_name_helps() -> None:
    for column, text, kind in (
        ("mobile_phone", "5552345678", "phone"),
        ("SSN", "123456789", "ssn"),
        ("customer_phone", "612 345 678", "phone"),
    ):
        assert [span.kind for span in find(text, context=column)] == [kind]
        assert find(text, context="quantity") == []
