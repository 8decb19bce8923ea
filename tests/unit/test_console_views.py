"""What pages show is arranged by pure functions: statements marked, entries folded, requests named."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrails.approval import ApprovalStatus
from guardrails.console.feed import feed_of
from guardrails.console.requests import title_of, view_of
from guardrails.console.settings import ConsoleSettings
from guardrails.console.showing import duration, hours, one_line, sql_markup, tidy, visible
from guardrails.console.understanding import obligations_of, relations_of
from guardrails.console.viewer import Viewer, roles_of
from guardrails.model import ApprovalRequest, ApprovalTerms, Impact, Principal, WorkingHours

STATIC = Path(__file__).resolve().parents[2] / "guardrails" / "console" / "static"
PIECES = st.sampled_from(
    ["SELECT", " ", "'", '"', "--", "\n", "/*", "*/", ":a", "?", "1.5", "x", "<b>", "&", "é", "\u202e", "`", "''"]
)


@settings(max_examples=60)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_marking_a_statement_changes_nothing_of_its_text(text: str) -> None:
    marked = str(sql_markup(text))
    assert html.unescape(re.sub(r'<span class="sql-[a-z]+">|</span>', "", marked)) == visible(text)
    assert re.sub(r'<span class="sql-[a-z]+">|</span>', "", marked).count("<") == 0


def test_characters_that_turn_the_direction_show() -> None:
    assert "\\u202e" in visible("a\u202eb")
    assert one_line("a\n  b") == "a b"
    assert len(one_line("x" * 500)) == 140


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_600, "1 h"), (4_800, "1 h 20 min"), (90_000, "1 d 1 h"), (-5, "0 s")],
)
def test_spans_of_time_are_short(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_normalised_statements_read_well() -> None:
    shown = tidy("SELECT p . id , count ( * ) FROM a AS p WHERE p . id IN ( ? , ? ) AND x = : id")
    assert shown == "SELECT p.id, count (*) FROM a AS p WHERE p.id IN (?, ?) AND x = :id"


def test_hours_are_in_words() -> None:
    assert hours(WorkingHours((0, 1, 2, 3, 4), 480, 1080, "Europe/Berlin")) == "Mon to Fri 08:00 to 18:00 (Europe/Berlin)"
    assert hours(WorkingHours((0, 2), 0, 60)) == "Mon, Wed 00:00 to 01:00 (UTC)"


def request(understood: dict[str, object], **fields: object) -> ApprovalRequest:
    given = {"kind": "statement", "rules": ("refunds",)} | fields
    return ApprovalRequest("1", "d", "ana", None, None, "sql", "summary", ApprovalTerms(), 0, 1, understood=understood, **given)  # type: ignore[arg-type]


UPDATE: dict[str, object] = {
    "statement_kind": "update",
    "reads": ["shop.orders.id", "customers.ssn", "customers.name"],
    "writes": ["shop.orders.status"],
    "functions": ["lower"],
    "obligations": [
        {"type": "mask", "column": "customers.ssn", "mask": "full"},
        {"type": "rows", "relation": "shop.orders", "predicate": "region = principal.region"},
        {"type": "limit", "rows": 10, "rows_changed": 2, "seconds": 5.0},
        {"type": "probes", "count": 1, "limit": 20},
    ],
}


def test_columns_show_the_most_telling_of_what_happens_to_them() -> None:
    orders, customers = relations_of(UPDATE)
    assert (orders.name, orders.row_filter) == ("shop.orders", "region = principal.region")
    assert [(c.name, c.happening) for c in orders.columns] == [("status", "written"), ("id", "read")]
    assert [(c.name, c.words) for c in customers.columns] == [("ssn", "masked (full)"), ("name", "read")]
    assert [o.name for o in obligations_of(UPDATE)] == ["Limits", "Questions", "Functions"]
    assert relations_of({}) == []
    assert relations_of({"reads": "x", "obligations": 7}) == []


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        (request(UPDATE), "Update shop.orders: status"),
        (request({"statement_kind": "delete", "writes": ["orders.id", "orders.status"]}), "Delete from orders"),
        (
            request(
                {"statement_kind": "select", "reads": ["c.ssn"], "obligations": [{"type": "unmask", "columns": ["c.ssn"]}]}
            ),
            "Read real values of c.ssn",
        ),
        (request({}, kind="grant", window_s=1800), "Grant ahead for 30 min: refunds"),
        (request({}, kind="reveal"), "Resolve a token"),
        (request({}, kind="action"), "summary"),
    ],
)
def test_requests_have_names(asked: ApprovalRequest, title: str) -> None:
    assert title_of(asked) == title


def test_the_feed_joins_statements_with_their_outcomes() -> None:
    session = {
        "session": "s",
        "principal": {"id": "ana"},
        "agent": {"name": "bot", "model": "m"},
        "time": "2026-01-01T10:00:00.000000Z",
    }
    entries = [
        {"type": "key.bind", "id": "a", **session},
        {"type": "outcome", "id": "x", "intent": "gone", "session": "s"},
        {
            "type": "intent",
            "id": "b",
            "statement": {"normalised": "SELECT ?"},
            "decision": {"effect": "allow", "masks": [1]},
            **session,
        },
        {"type": "outcome", "id": "c", "intent": "b", "status": "ok", "rows": 3, "rows_changed": 0, "duration_us": 1500},
        {"type": "refusal", "id": "d", "decision": {"effect": "deny", "reasons": [{"code": "policy.no_rule"}]}, **session},
        {
            "type": "approval.decided",
            "id": "e",
            "session": "r",
            "request": "r",
            "answer": "approved",
            "approver": {"id": "lea"},
        },
        {"type": "approval.review.closed", "id": "f", "session": "r", "request": "r", "by": {"id": "bo"}},
        {"type": "erasure", "id": "g"},
    ]
    feed = feed_of(enumerate(entries), limit=6)
    assert [(row.who, row.text, row.effect, row.code) for row in feed.rows] == [
        ("", "erasure", "", ""),
        ("bo", "closes a review", "", ""),
        ("lea", "says yes", "approved", ""),
        ("ana", "not understood", "deny", "policy.no_rule"),
        ("ana", "SELECT ?", "allow", ""),
        ("ana", "begins a session", "", ""),
    ]
    assert (feed.rows[4].rows, feed.rows[4].status, feed.rows[4].masked, feed.rows[4].duration_us) == (3, "ok", 1, 1500)
    (only,) = feed.sessions
    assert (only.who, only.agent, only.statements, only.refused) == ("ana", "bot", 2, 1)
    assert len(feed_of(enumerate(entries), limit=2).rows) == 2


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("look", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(look: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: at least 4.5 to 1; and 3 to 1 for what bounds a field (1.4.11)."""
    light, dark = re.findall(r":root \{(.*?)\n *\}", (STATIC / "console.css").read_text("utf-8"), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", light if look == "light" else dark))
    grounds = ("ground", "surface", "raised")
    pairs = [(ink, ground, 4.5) for ink in ("ink", "muted", "accent", "bad", "mark") for ground in grounds]
    pairs += [(name, f"{name}-ground", 4.5) for name in ("good", "bad", "wait", "info", "mark")]
    pairs += [(name, "raised", 4.5) for name in colours if name.startswith("sql-")]
    pairs += [("accent-ink", "accent", 4.5), ("field", "ground", 3), ("field", "surface", 3), ("focus", "surface", 3)]
    for ink, ground, least in pairs:
        lighter, darker = sorted((luminance(colours[ink]), luminance(colours[ground])), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= least, (ink, ground)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "code", "name", "normalised"]), inner, max_size=2)
    ),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    ["type", "id", "intent", "session", "principal", "agent", "decision", "statement", "masks", "rows", "time", "by"]
)
TYPES = st.sampled_from(["intent", "outcome", "refusal", "key.bind", "approval.decided", "approval.used", "message"])


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.none() | st.tuples(st.dictionaries(FIELDS, JSON, max_size=6), TYPES), max_size=5))
def test_the_feed_bears_with_whatever_somebody_stored(stored: list[tuple[dict[str, object], str] | None]) -> None:
    entries = [None if item is None else {"type": item[1]} | item[0] for item in stored]
    assert len(feed_of(enumerate(entries), limit=9).rows) <= len(entries)


def test_only_who_may_answer_learns_what_a_change_would_do() -> None:
    asked = request(UPDATE, impact=Impact((("orders", 3),), error="engine.failed"))
    settings_ = ConsoleSettings()
    for name, verified, is_shown in (
        ("bo", "jwt", True),
        ("ana", "jwt", False),
        ("ANA", "jwt", False),
        ("pod", "spiffe", False),
    ):
        principal = Principal(name, frozenset({"leads"}), verified=verified)  # type: ignore[arg-type]
        view = view_of(ApprovalStatus(asked, "pending"), Viewer(principal, roles_of(principal, settings_)), 0)
        assert view.shows_impact == is_shown, name
