"""How a person is asked: through a function of the application's own, by waiting until the store has an answer, or by not waiting.

A channel that fails means no: an approver who cannot be reached has not said yes. Some channels tell as well as ask, and some pause
the framework around them; both say so with an attribute of their own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from guardrails.approval.notice import Notice
from guardrails.approval.printing import printable
from guardrails.approval.status import Review
from guardrails.approval.store import ApprovalStore
from guardrails.errors import Denied, GuardrailsError
from guardrails.model import ApprovalRequest, Principal

__all__ = [
    "Answer",
    "CallbackChannel",
    "Channel",
    "ChannelGroup",
    "Pausing",
    "PendingChannel",
    "Telling",
    "WaitingChannel",
    "ask_channel",
    "notify_channel",
    "printable",
    "tell_channel",
]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's answer, which still has to be written into the store: `by` whom, and why."""

    is_approved: bool
    by: Principal
    reason: str = ""


class Channel(Protocol):
    """A way to ask a person."""

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """Returns the answer; None when there is none to write down: still pending, or already in the store.

        Raises:
            Denied: The answer is no, or nobody could be asked (approval.channel_down).
        """
        ...


@runtime_checkable
class Telling(Protocol):
    """What a channel has beside `Channel.ask` when it tells people of what happens, without an answer to get."""

    def notify(self, notice: Notice) -> None:
        """Takes a notice over, to be told in time; does not wait for anybody.

        Raises:
            Denied: It could not be taken over (approval.channel_down).
        """
        ...


@runtime_checkable
class Pausing(Protocol):
    """What a channel has beside `Channel.ask` when it pauses the framework around it: the exceptions that do so are no failure."""

    pauses_with: tuple[type[Exception], ...]


def ask_channel(channel: Channel, request: ApprovalRequest) -> Answer | None:
    """Asks; whatever goes wrong in the channel is a refusal.

    Raises:
        Denied: As `Channel.ask`.
        Exception: One with which the channel says that it pauses the framework; nothing has run.
    """
    try:
        answer = channel.ask(request)
    except GuardrailsError:
        raise
    except Exception as error:
        if isinstance(error, _pauses(channel)):
            raise
        raise _down("The approval channel failed.", error) from error
    if not isinstance(answer, (Answer, type(None))) or (answer and not isinstance(answer.is_approved, bool)):
        raise _down("The approval channel gave no answer of the right kind.")
    return answer


def tell_channel(channel: object, notice: Notice) -> bool:
    """Hands a notice to a channel that tells people; what it is about has happened, so a failure is logged and not raised.

    Returns:
        Whether somebody took it over.
    """
    if not isinstance(channel, Telling):
        return False
    try:
        channel.notify(notice)
    except Exception as error:  # noqa: BLE001  a chat that is down must not undo what has happened
        _LOGGER.warning("A notice of %s could not be handed over: %s", notice.kind, type(error).__name__)
        return False
    return True


def notify_channel(channel: object, review: Review) -> bool:
    """Tells people that the glass was broken, or that its review is closed, as `tell_channel` does."""
    return tell_channel(channel, Notice.of_review(review))


class CallbackChannel:
    """Asks a function.

    Args:
        function: Gets the request, returns an `Answer` or None.
    """

    def __init__(self, function: Callable[[ApprovalRequest], Answer | None]) -> None:
        self._function = function

    def ask(self, request: ApprovalRequest) -> Answer | None:
        return ask_channel(_Function(self._function), request)


class PendingChannel:
    """Asks nobody: the caller gets `ApprovalRequired` at once, and runs the same again when somebody has answered elsewhere."""

    def ask(self, request: ApprovalRequest) -> Answer | None:  # noqa: ARG002  of the Protocol
        return None


class WaitingChannel:
    """Waits until somebody answers through the store, in another thread or process.

    Args:
        store: Where the answer will be.
        poll_s: Seconds after which it looks even when the store has not told of a change, as when the request's time is over.
        timeout_s: Seconds after which the request is left pending.
    """

    def __init__(self, store: ApprovalStore, poll_s: float = 1, timeout_s: float = 300) -> None:
        self._store = store
        self._poll_s = poll_s
        self._timeout_s = timeout_s

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """Returns None when the request was approved, for then the store has the grant, or when it is still pending.

        Raises:
            Denied: Somebody said no (approval.denied), or its time is over (approval.expired).
        """
        deadline = time.monotonic() + self._timeout_s
        seen = self._store.watch(0)
        while True:
            state = self._store.status(request.id, now=int(time.time())).state
            if state == "denied":
                raise Denied("approval.denied", "The approver said no.")
            if state == "expired":
                raise Denied("approval.expired", "Nobody answered the request in time.")
            left_s = deadline - time.monotonic()
            if state != "pending" or left_s <= 0:
                return None
            seen = self._store.watch(min(self._poll_s, left_s), seen)


class ChannelGroup:
    """Several channels as one: those that tell are told first, then the others are asked in turn until one has an answer.

    One that is down does not keep the others from being asked; when all are, nobody could be asked.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = tuple(sorted(channels, key=lambda channel: not isinstance(channel, Telling)))

    @property
    def pauses_with(self) -> tuple[type[Exception], ...]:
        return tuple(kind for channel in self._channels for kind in _pauses(channel))

    def ask(self, request: ApprovalRequest) -> Answer | None:
        failures: list[Denied] = []
        for channel in self._channels:
            try:
                answer = ask_channel(channel, request)
            except Denied as error:
                if error.code != "approval.channel_down":
                    raise
                _LOGGER.warning("An approval channel is down: %s", error.evidence.get("error", error.message))
                failures.append(error)
                continue
            if answer is not None:
                return answer
        if failures and len(failures) == len(self._channels):
            raise failures[0]
        return None

    def notify(self, notice: Notice) -> None:
        """Tells all that tell. Raises only when there are some and none of them could be told."""
        tellers = [channel for channel in self._channels if isinstance(channel, Telling)]
        told = [tell_channel(channel, notice) for channel in tellers]
        if told and not any(told):
            raise _down("Nobody could be told.")

    def close(self) -> None:
        """Closes those that have something to close."""
        for channel in self._channels:
            close = getattr(channel, "close", None)
            if callable(close):
                close()


@dataclass(frozen=True, slots=True)
class _Function:
    ask: Callable[[ApprovalRequest], Answer | None]


def _pauses(channel: object) -> tuple[type[Exception], ...]:
    return channel.pauses_with if isinstance(channel, Pausing) else ()


def _down(message: str, error: Exception | None = None) -> Denied:
    return Denied("approval.channel_down", message, evidence={"error": type(error).__name__} if error else None)
