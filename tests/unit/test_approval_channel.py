"""Asking in a real pseudo-terminal and through callbacks; whatever fails is a no."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from guardrails.approval import Answer, CallbackChannel, ChannelGroup, Notice, PendingChannel, TerminalChannel, ask_channel
from guardrails.errors import Denied, IdentityError
from guardrails.model import ApprovalRequest, ApprovalTerms, Principal, Statement

BO = Principal("bo@example.com")
REQUEST = ApprovalRequest(
    "r1",
    "d1",
    "ana",
    "refund-bot",
    "refunds",
    "UPDATE orders SET status = 'x\x1b[2J'",
    "update orders",
    ApprovalTerms(),
    100,
    200,
    statement=Statement("UPDATE …", {"amount": "5\x1b[2J"}),
    understood={"arguments": {"target": "production"}},
)
PROGRAM = """
import sys
from guardrails.approval import TerminalChannel
from guardrails.model import *
from tests.unit.test_approval_channel import BO, REQUEST
answer = TerminalChannel(approver=BO).ask(REQUEST)
print("ANSWER", answer and (answer.is_approved, answer.by.id, answer.reason))
"""


def in_terminal(typed: bytes) -> str:
    """Runs the channel in a pseudo-terminal and returns all that it shows."""
    controller, terminal = pty.openpty()
    root = Path(__file__).parents[2]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=terminal, stdout=terminal, stderr=terminal, cwd=root, env=environment
    ) as process:
        os.close(terminal)
        os.write(controller, typed)
        shown = b""
        try:
            while chunk := os.read(controller, 4096):
                shown += chunk
        except OSError:  # how Linux tells that the other side has closed
            pass
        process.wait(timeout=30)
    os.close(controller)
    return shown.decode()


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (b"yes\ncustomer called\n", "(True, 'bo@example.com', 'customer called')"),
        (b"maybe\ny\n\nok\n", "(True, 'bo@example.com', 'ok')"),
        (b"n\nwrong amount\n", "(False, 'bo@example.com', 'wrong amount')"),
        (b"later\n", "None"),
        (b"\x04", "None"),
    ],
)
def test_the_terminal_asks_and_shows_what_would_run(typed: bytes, answer: str) -> None:
    shown = in_terminal(typed)
    assert f"ANSWER {answer}" in shown
    assert all(text in shown for text in ("with amount", "with target", "'production'"))
    for part in ("ana", "refund-bot", "refunds", "update orders", "r1", "\\x1b[2J"):
        assert part in shown
    assert "\x1b[2J" not in shown


def test_without_a_terminal_the_request_stays_pending() -> None:
    assert TerminalChannel(approver=BO, console=Console(file=io.StringIO())).ask(REQUEST) is None


def test_callbacks_answer() -> None:
    answer = Answer(True, BO, "fine")
    assert CallbackChannel(lambda request: answer if request is REQUEST else None).ask(REQUEST) is answer
    assert CallbackChannel(lambda _: None).ask(REQUEST) is None


@pytest.mark.parametrize("broken", [lambda _: 1 / 0, lambda _: True, lambda _: Answer("yes", BO), lambda: None])
def test_a_broken_channel_is_a_no(broken: object) -> None:
    with pytest.raises(Denied) as refused:
        CallbackChannel(broken).ask(REQUEST)  # type: ignore[arg-type]
    assert refused.value.code == "approval.channel_down"


def test_errors_with_a_code_pass_through() -> None:
    def refuse(_: ApprovalRequest) -> None:
        raise IdentityError("identity.token_expired", "Sign in again.")

    with pytest.raises(IdentityError):
        CallbackChannel(refuse).ask(REQUEST)


def test_a_channel_may_pause_the_framework_around_it() -> None:
    class Pause(Exception):
        """As a framework's own."""

    class Pausing:
        pauses_with = (Pause,)

        def __init__(self, error: Exception) -> None:
            self._error = error

        def ask(self, _: ApprovalRequest) -> None:
            raise self._error

    told: list[Notice] = []

    class Telling:
        def ask(self, request: ApprovalRequest) -> None:
            self.notify(Notice.of_request(request))

        def notify(self, notice: Notice) -> None:
            told.append(notice)

    for channel in (Pausing(Pause()), ChannelGroup([Pausing(Pause()), Telling()])):
        with pytest.raises(Pause):
            ask_channel(channel, REQUEST)
    assert [notice.request for notice in told] == [REQUEST], "who is told is told before the pause"
    with pytest.raises(Denied):
        ask_channel(Pausing(ValueError()), REQUEST)
    assert ChannelGroup([Pausing(ValueError()), PendingChannel()]).ask(REQUEST) is None
