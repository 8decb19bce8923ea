"""LangGraph's own pause: a statement that needs a person interrupts the graph, and goes on when the graph is resumed.

Give an `InterruptChannel` to `Guard.open` and compile the graph with a checkpointer; guarded tools and whatever else a node does with
the guard then pause. The graph may be resumed in another process and much later. What the resumption says does not matter: the answer
is in the store (see `guardrails.integrations._pausing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from guardrails.approval import Answer
from guardrails.errors import UsageError
from guardrails.guard import Guard
from guardrails.integrations._pausing import is_pause, pause_facts
from guardrails.model import ApprovalRequest

try:
    from langgraph.errors import GraphInterrupt
    from langgraph.types import Command, Interrupt, interrupt
except ModuleNotFoundError as missing:
    raise UsageError(
        "usage.extra_missing", "Pausing a graph needs langgraph.", hint="Install guardrails-sql[langgraph]."
    ) from missing

from guardrails.integrations import _langchain_runtime

__all__ = ["InterruptChannel", "calling", "resume"]


class InterruptChannel:
    """Interrupts the graph in which the guard runs.

    LangGraph runs an interrupted node from its beginning again: what the node did before is done twice, so let each node, or each tool
    call, do one thing.

    Args:
        console_url: Where the console is, for the link that the interrupt shows; None leaves it out.
    """

    pauses_with: tuple[type[Exception], ...] = (GraphInterrupt,)

    def __init__(self, console_url: str | None = None) -> None:
        self._console_url = console_url

    def ask(self, request: ApprovalRequest) -> Answer | None:
        """Interrupts; does not return.

        Raises:
            GraphInterrupt: With what may be shown of the request as its value.
            RuntimeError: No graph runs around it, or it has no checkpointer.
        """
        facts = pause_facts(request, self._console_url)
        while True:
            # It returns what earlier resumptions said, in turn. None of them was an answer: the guard has just looked, and the
            # request still waits.
            interrupt(facts)


def calling(guard: Guard) -> AbstractContextManager[None]:
    """Puts in force, in a node that uses the guard itself, what the graph's run tells: its user, thread and purpose; tools do it alone.

    Args:
        guard: The guard.

    Raises:
        IdentityError: As `Guard.calling`.

    Example:
        >>> def count(state: dict[str, object], guard: Guard) -> dict[str, object]:
        ...     with calling(guard):
        ...         return {"open": guard.execute("SELECT count(*) FROM orders").rows[0][0]}
    """
    return _langchain_runtime.calling(guard)


def resume(interrupts: Iterable[Interrupt]) -> Command[tuple[()]]:
    """Returns the command that has a paused graph look whether its requests have been answered.

    Args:
        interrupts: The graph's, as ``state["__interrupt__"]`` or ``graph.get_state(config).interrupts`` hold them.

    Raises:
        UsageError: None of them waits for an approval of ours (usage.input_invalid).
    """
    ours = {paused.id: True for paused in interrupts if is_pause(paused.value)}
    if not ours:
        raise UsageError("usage.input_invalid", "None of the interrupts waits for an approval.")
    return Command(resume=ours)
