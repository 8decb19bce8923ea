"""What one message of a client runs under: its principal, its agent, its conversation, and a thread that ends what it has begun.

The client says its own name and version; both are recorded as what it claims, and never become the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from guardrails.engines.interrupting import Interrupt
from guardrails.errors import UsageError
from guardrails.guard import Guard
from guardrails.identity.agents import AgentKey
from guardrails.integrations._mcp_asking import Told
from guardrails.integrations._mcp_runtime import runtime_of
from guardrails.model import Principal, Runtime

try:
    from mcp.server.context import ServerRequestContext
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP server needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["Calls", "PrincipalSource", "ServerSettings"]

T = TypeVar("T")
PrincipalSource: TypeAlias = Callable[[ServerRequestContext[Any, Any]], Principal]
"""Says whose a message is."""

_MOST_THREADS = 32


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server is told beside the guard.

    Args:
        name: What it calls itself to clients.
        agent: The agent that calls it, where the principal's token names none.
        agent_key: With which that agent proves itself.
        purpose: The declared purpose of all calls.
        console_url: Where people answer; None: calls that need a person are answered with what they wait for.
        wait_s: Seconds for which a call waits once its user has been sent to the console.
        result_bytes: Most bytes of rows in one answer, as JSON; the policy's limits hold before it.
        tell_s: Seconds between two messages to the client that a statement still runs.
    """

    name: str = "guardrails"
    agent: str | None = None
    agent_key: AgentKey | None = None
    purpose: str | None = None
    console_url: str | None = None
    wait_s: float = 50
    result_bytes: int = 1_000_000
    tell_s: float = 2


class Calls:
    """Runs what messages ask for, each under the principal of its own message. Safe to share between requests.

    Args:
        guard: The guard.
        principal_of: Says whose a message is.
        settings: The server's.
    """

    def __init__(self, guard: Guard, principal_of: PrincipalSource, settings: ServerSettings) -> None:
        self.guard = guard
        self.settings = settings
        self._principal_of = principal_of
        self._threads = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="guardrails-mcp")
        self._connection = uuid.uuid4().hex

    def close(self) -> None:
        """Waits for what runs, so that its outcome is recorded; what has not begun never does."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def run(self, context: ServerRequestContext[Any, Any], function: Callable[[], T], told: Told | None = None) -> T:
        """Runs a function in a thread, under the message's principal.

        A client that cancels, or goes, gets no answer. A read that runs is ended, a change goes on to its end; in its thread, so that
        the outcome is recorded.

        Args:
            context: Of the message.
            function: What uses the guard.
            told: Tells the client, now and then, that it is still at work.

        Raises:
            GuardrailsError: The principal is not accepted, or what the function raises.
        """
        principal = await asyncio.to_thread(self._principal_of, context)
        interrupt = Interrupt()
        bound = functools.partial(self._bound, self._runtime(context, principal), principal, function, interrupt)
        job = self._threads.submit(contextvars.copy_context().run, bound)
        future = asyncio.wrap_future(job)
        future.add_done_callback(_look_at)
        try:
            while not (await asyncio.wait({future}, timeout=self.settings.tell_s))[0]:
                if told is not None:
                    await told("The statement is running.")
        except BaseException:
            # The call was cancelled, or its client cannot be told any more. What has not begun never does; a read that runs is told to
            # end, which may take the engine a moment.
            if not job.cancel():
                asyncio.get_running_loop().run_in_executor(None, interrupt.ask).add_done_callback(_look_at)
            raise
        return future.result()

    def _bound(self, runtime: Runtime, principal: Principal, function: Callable[[], T], interrupt: Interrupt) -> T:
        with interrupt.in_force(), self.guard.calling(runtime, principal, agent_key=self.settings.agent_key):
            return function()

    def _runtime(self, context: ServerRequestContext[Any, Any], principal: Principal) -> Runtime:
        agent = None if principal.actors else self.settings.agent
        return runtime_of(context, agent=agent, purpose=self.settings.purpose, connection=self._connection)


def _look_at(future: asyncio.Future[Any]) -> None:
    """Nobody waits for what a cancelled call raises; it is recorded."""
    with contextlib.suppress(asyncio.CancelledError):
        future.exception()
