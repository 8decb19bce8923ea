"""Asking ahead for an approval: the request is found or filed, nothing runs, and no yes is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guardrails import UsageError
from guardrails.approval import Answer, CallbackChannel
from tests.support.never_runs import nothing_runs
from tests.support.story import DELETE, DROP, POLICY, READ, Story

TERMS = "approval: {groups: [leads], reason_required: true}"


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with Story.open(tmp_path) as opened, nothing_runs(opened.database):
        yield opened


def test_a_request_is_filed_once_and_found_by_the_call(story: Story) -> None:
    with story.guard.session(principal=story.ana):
        assert story.guard.request_approval(DELETE, is_asked=False) is None
        request = story.guard.request_approval(DELETE)
        assert request is not None
        assert request.impact is None, "it is for the approvers"
        assert story.guard.request_approval(DELETE) == story.guard.request_approval(DELETE, is_asked=False) == request
        story.approve()
        assert story.guard.request_approval(DELETE) is None
    assert [entry["type"] for entry in story.entries("approval.requested", "approval.used")] == ["approval.requested"]


@pytest.mark.parametrize("sql", [READ, DROP, "SELEC"], ids=["allowed", "refused", "malformed"])
def test_what_needs_nobody_asks_nobody(story: Story, sql: str) -> None:
    with story.guard.session(principal=story.ana):
        assert story.guard.request_approval(sql) is None
    assert story.guard.pending() == []
    assert story.entries() == []


def test_a_no_is_nothing_to_wait_for(story: Story) -> None:
    with story.guard.session(principal=story.ana):
        story.guard.request_approval(DELETE)
        story.deny()
        assert story.guard.request_approval(DELETE) is None
    assert len(story.entries("approval.requested")) == 1


def test_a_channel_that_answers_leaves_nothing_to_wait_for(story: Story) -> None:
    story.reopen(CallbackChannel(lambda _: Answer(True, story.lead, "fine")))
    with story.guard.session(principal=story.ana):
        assert story.guard.request_approval(DELETE) is None
    assert story.entries("approval.used") == []


def test_a_window_and_a_broken_glass_leave_nothing_to_wait_for(tmp_path: Path) -> None:
    glass = "approval: {groups: [leads], window: 1h, break_glass: {groups: [support], review: 1h}}"
    with Story.open(tmp_path, policy=POLICY.replace(TERMS, glass)) as story, nothing_runs(story.database):
        with story.guard.session(principal=story.ana):
            with story.guard.break_glass("The site is down."):
                assert story.guard.request_approval(DELETE) is None
            request = story.guard.request_window("delete-orders", seconds=600, reason="A clean-up.")
            story.guard.approve(request.id, by=story.lead, reason="fine")
            assert story.guard.request_approval(DELETE) is None
            assert story.guard.request_approval(DELETE, is_asked=False) is None
        assert story.entries("approval.review.opened") == []


def test_actions_are_asked_for_alike(story: Story) -> None:
    with story.guard.session(principal=story.ana):
        request = story.guard.request_action_approval("refund", {"order": 3})
        assert request is not None
        assert story.guard.request_action_approval("refund", {"order": 3}, is_asked=False) == request
        assert story.guard.request_action_approval("refund", {"order": 4}, is_asked=False) is None
        assert story.guard.request_action_approval("send_mail", {"to": "bo"}) is None
        story.approve()
        assert story.guard.request_action_approval("refund", {"order": 3}) is None
        assert story.guard.call_action(lambda order: f"paid {order}", {"order": 3}, name="refund") == "paid 3"


def test_nobody_asks_for_nothing(story: Story) -> None:
    with pytest.raises(UsageError, match="session"):
        story.guard.request_approval(DELETE)
