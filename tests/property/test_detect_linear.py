"""The detectors' time grows with the text and no faster, whatever the text; spans are in order and do not overlap."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.masking import find
from guardrails.masking.detect import KINDS

HOSTILE = [
    "a", "1", "@", "a@", "a@a.", "a.", "a.b@c.d", "@a.", "%40a", "'a", "eyJ", "eyJaaaaaaaa.", "eyJa.a", "sk-", "sk-a1", "AKIA", "ghp_a",
    "SG.aaaaaaaaaaaaaaaaaa.", "xoxb-", "-----BEGIN PRIVATE KEY-----", "password=", "password:'", "password   :", 'secret="', "token:",
    "://a:", "a://", "http://a:b", "hooks.slack.com/services/T",
    "1 ", "12-", "1234 ", "0123 ", "4111 1111 1111 ", "4111111111111111 ", "+1 ",
    "+49 ", "+49 30 1234567 ", "00 1", "(", "(2", "555-234-", "030-12 ", "01.02.03.04.05.", "tel ", "tel 1", "call +", "phone(", "order ",
    "DE89", "DE89 ", "GB82 W", "ssn ", "ssn 1", "\u200b1", "１", "é1", "-", "_", ".", "\\", " ",
]  # fmt: skip


def seconds(text: str) -> float:
    begun = time.process_time()
    find(text)
    return time.process_time() - begun


@pytest.mark.parametrize("size", [1_000_000])
def test_a_hostile_megabyte_of_everything(size: int) -> None:
    part = size // len(HOSTILE)
    assert seconds(" x ".join((piece * part)[:part] for piece in HOSTILE)) < 20


def test_four_times_the_text_takes_about_four_times_as_long() -> None:
    slow = []
    for piece in HOSTILE:
        short, long = ((piece * size)[:size] for size in (15_000, 60_000))
        base = min(seconds(short) for _ in range(2))
        if (taken := seconds(long)) > max(9 * base, 0.05) and (taken := min(taken, seconds(long))) > max(9 * base, 0.05):
            slow.append((piece, base, taken))
    assert not slow


@settings(deadline=None)
@given(st.text() | st.text(alphabet="0123456789 +-()./@abexKpws:=\u200b４é", max_size=80))
def test_spans_are_in_order_without_overlaps(text: str) -> None:
    end = 0
    for span in find(text):
        assert end <= span.start < span.end <= len(text)
        assert span.kind in KINDS
        assert 0 < span.score <= 1
        end = span.end


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_an_address_is_found_wherever_it_stands(before: str, after: str) -> None:
    text = f"{before} ana@example.com {after}"
    place = len(before) + 1
    assert any(span.start <= place and span.end >= place + len("ana@example.com") - 4 for span in find(text))
