"""What LangChain and LangGraph tell of the tool call that runs: conversation, run, agent, the model that asked, and the user.

It is read from the configuration that both keep in a context variable, so neither tools nor their callers do anything for it. The user is
a `Principal` under `principal` in the context that a LangGraph run was given (``context=``), or in ``config["configurable"]``; a purpose
may stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from langchain_core.messages import AIMessage
from langchain_core.runnables.config import var_child_runnable_config

from guardrails.guard import Guard
from guardrails.integrations._runtime import principal_in, purpose_in
from guardrails.model import Runtime

__all__ = ["call_id", "calling", "messages_known", "tool_call", "tool_name"]

_CALL: ContextVar[tuple[str | None, str | None]] = ContextVar("guardrails_langchain_call", default=(None, None))
"""Id and tool of the tool call that runs in this context."""
_MESSAGES: ContextVar[Sequence[object]] = ContextVar("guardrails_langchain_messages", default=())
"""The conversation, where somebody who has it at hand has put it."""
_GRAPH_RUNTIME = "__pregel_runtime"
_GRAPH_READ = "__pregel_read"
"""Where LangGraph keeps a run's context, and what reads its state; `langgraph.config` documents access to the former by functions, which
would make LangGraph a requirement."""


@contextmanager
def tool_call(identifier: str | None, tool: str) -> Iterator[None]:
    """Remembers id and tool of the tool call that runs inside."""
    token = _CALL.set((identifier, tool))
    try:
        yield
    finally:
        _CALL.reset(token)


def call_id() -> str | None:
    """Returns the id of the tool call that runs; None when the caller gave none."""
    return _CALL.get()[0]


def tool_name() -> str | None:
    """Returns the name of the guarded tool that runs; None outside of one."""
    return _CALL.get()[1]


@contextmanager
def messages_known(messages: Sequence[object]) -> Iterator[None]:
    """Makes a conversation known to the tool calls inside, which find in it the message that asked for them."""
    token = _MESSAGES.set(messages)
    try:
        yield
    finally:
        _MESSAGES.reset(token)


def calling(guard: Guard) -> AbstractContextManager[None]:
    """Puts in force what is known of the tool call that runs; raises as `Guard.calling`."""
    config: Mapping[str, object] = var_child_runnable_config.get() or {}
    configurable, metadata = _mapping(config.get("configurable")), _mapping(config.get("metadata"))
    graph = configurable.get(_GRAPH_RUNTIME)
    context = getattr(graph, "context", None)
    asked = _asking_message(_MESSAGES.get()) or _asking_message(_messages_of(configurable))
    told = _mapping(getattr(asked, "response_metadata", None))
    # A caller may send metadata; the message's name is the agent's own doing.
    agent = metadata.get("lc_agent_name") if asked is None else asked.name
    # A purpose counts where a principal stands, which nobody can send either.
    trusted = [held for held in (context, configurable) if principal_in(held) is not None]
    runtime = Runtime(
        "langchain" if graph is None else "langgraph",
        agent=_text(agent),
        model=_text(told.get("model_name")) or _text(told.get("model")),
        conversation_id=_text(configurable.get("thread_id")),
        run_id=_run_id(config, configurable, metadata) or _text(getattr(asked, "id", None)),
        purpose=purpose_in(*trusted),
    )
    return guard.calling(runtime, principal_in(*trusted))


def _run_id(config: Mapping[str, object], *others: Mapping[str, object]) -> str | None:
    """The id that the caller gave to the run."""
    return next((_text(found) for place in (config, *others) if (found := place.get("run_id"))), None)


def _asking_message(messages: Sequence[object]) -> AIMessage | None:
    """The model's message that asked for the call that runs."""
    wanted = call_id()
    if wanted is None:
        return None
    ours = (message for message in reversed(messages) if isinstance(message, AIMessage))
    return next((message for message in ours if any(call["id"] == wanted for call in message.tool_calls)), None)


def _messages_of(configurable: Mapping[str, object]) -> Sequence[object]:
    """The conversation in the state of the graph that runs, as most graphs name it; nothing where it is not."""
    read = configurable.get(_GRAPH_READ)
    if not callable(read):
        return ()
    reading: Callable[..., object] = read
    try:
        found = reading("messages", False)
    except (KeyError, TypeError, ValueError):
        # A graph without such a state, or a LangGraph that reads it differently: the model stays unknown.
        return ()
    return found if isinstance(found, (list, tuple)) else ()


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return (str(value) or None) if value is not None else None
