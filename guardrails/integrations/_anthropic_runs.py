"""What a run of Anthropic's tool runner shows from outside: which message and call its tools serve, and where a person has to approve.

The runner hands a tool its input only. A call is found again by that very object, which is part of the message that the run yielded last:
an input that merely looks the same may belong to somebody else's run.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from guardrails.errors import GuardrailsError
from guardrails.integrations._anthropic_messages import FRAMEWORK, Results
from guardrails.integrations._toolbox import Reply
from guardrails.integrations.anthropic import FunctionTools
from guardrails.model import Principal, Runtime

__all__ = ["AsyncRun", "SyncRun", "WatchedRun", "Watches"]


class WatchedRun:
    """One run of the runner, with what all its tools have answered.

    Attributes:
        message: The message that the run yielded last: the final one, or the one whose calls wait.
        results: When the run has stopped for a person: the user's message that answers `message`, so far; None otherwise.
    """

    def __init__(
        self,
        runner: Any,
        tools: FunctionTools,
        watches: Watches,
        *,
        principal: Principal | None,
        conversation_id: str | None,
    ) -> None:
        self.message: Any = None
        self.results: Results | None = None
        self.principal = principal
        self._conversation_id = conversation_id
        self._runner = runner
        self._tools = tools
        self._watches = watches
        self._item: Any = None
        self._turns: list[Any] = []
        self._requests: dict[str, str] = {}
        self._mistake: GuardrailsError | None = None

    @property
    def waiting(self) -> dict[str, str]:
        """The calls that wait for a person: id of the call to id of the request. The run has stopped when there are any."""
        return dict(self.results.waiting) if self.results else {}

    def history(self, messages: Sequence[Any]) -> list[Any]:
        """Returns the conversation to go on with in a new run, unless the loop itself has changed it.

        Args:
            messages: What this run began with.
        """
        paused = [_said(self.message), self.results] if self.results else []
        return [*messages, *self._turns, *paused]

    def call_of(self, given: object) -> tuple[str, Runtime] | None:
        """Returns id and circumstances of the call with this very input; None when this run has asked for no such call."""
        message = _so_far(self._item)
        for block in message.content if message is not None else ():
            if block.type == "tool_use" and block.input is given:
                told = Runtime(FRAMEWORK, model=message.model, conversation_id=self._conversation_id, run_id=message.id)
                return block.id, told
        return None

    def note(self, call_id: str, reply: Reply) -> None:
        """Takes down what a call was answered."""
        if reply.request_id:
            self._requests[call_id] = reply.request_id

    def fail(self, mistake: GuardrailsError) -> None:
        """Takes down a mistake of the program around the model, which the runner would tell the model."""
        self._mistake = mistake

    def _must_stop(self, response: Any) -> bool:
        """Takes down what the runner is about to send; returns whether a person has to approve first."""
        if self._mistake is not None:
            raise self._mistake
        if response is None:
            return False
        if self._requests:
            self.results = Results([dict(block) for block in response["content"]], self._requests)
            return True
        self._turns += [_said(self.message), response]
        return False

    def _options(self) -> dict[str, Any]:
        return {"principal": self.principal, "conversation_id": self._conversation_id, "earlier": self.results}


class SyncRun(WatchedRun):
    """A run of the synchronous runner."""

    def __iter__(self) -> Iterator[Any]:
        """Yields what the runner yields, until it ends or a person has to approve; nothing more after that."""
        if self.results is not None:
            return
        with self._watches.watching(self):
            for item in self._runner:
                self._item = item
                yield item
                self.message = item.get_final_message() if _is_stream(item) else item
                # The runner keeps this response, so no tool is called twice.
                if self.message.stop_reason == "tool_use" and self._must_stop(self._runner.generate_tool_call_response()):
                    if hasattr(self._runner, "close"):  # not in the first versions, which have nothing open here
                        self._runner.close()
                    return

    def until_done(self) -> Any:
        """Goes on to the end, or to where a person has to approve; returns the last message."""
        for _ in self:
            pass
        return self.message

    def retry(self) -> bool:
        """Tries the calls again that wait; returns whether none waits any more, so that a new run can go on with `history`."""
        self.results = self._tools.run(self.message, **self._options())
        return not self.waiting


class AsyncRun(WatchedRun):
    """A run of the asynchronous runner."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Yields what the runner yields, until it ends or a person has to approve; nothing more after that."""
        if self.results is not None:
            return
        with self._watches.watching(self):
            async for item in self._runner:
                self._item = item
                yield item
                self.message = await item.get_final_message() if _is_stream(item) else item
                if self.message.stop_reason == "tool_use" and self._must_stop(await self._runner.generate_tool_call_response()):
                    if hasattr(self._runner, "close"):
                        await self._runner.close()
                    return

    async def until_done(self) -> Any:
        """Goes on to the end, or to where a person has to approve; returns the last message."""
        async for _ in self:
            pass
        return self.message

    async def retry(self) -> bool:
        """Tries the calls again that wait; returns whether none waits any more, so that a new run can go on with `history`."""
        self.results = await self._tools.arun(self.message, **self._options())
        return not self.waiting


class Watches:
    """The runs that a list of tools serves at the moment. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: list[WatchedRun] = []

    @contextmanager
    def watching(self, run: WatchedRun) -> Iterator[None]:
        """While it is entered, calls are looked for among those of the run too."""
        with self._lock:
            self._runs.append(run)
        try:
            yield
        finally:
            with self._lock:
                self._runs.remove(run)

    def find(self, given: object) -> tuple[WatchedRun, str, Runtime] | None:
        """Returns the run that asked for the call with this very input, the call's id and its circumstances; None for no such run."""
        with self._lock:
            runs = list(self._runs)
        for run in runs:
            if found := run.call_of(given):
                return run, *found
        return None


def _said(message: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": message.content}


def _so_far(item: Any) -> Any:
    """The message as far as it has come; None when nothing has: the runs of other threads are asked too."""
    if not _is_stream(item):
        return item
    try:
        return item.current_message_snapshot
    except AssertionError:  # the stream's own, before its first event
        return None


def _is_stream(item: object) -> bool:
    return hasattr(item, "get_final_message")
