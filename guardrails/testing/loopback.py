"""Keeping the vendors' clients on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["only_loopback"]


@contextmanager
def only_loopback() -> Iterator[None]:
    """Takes away what would send the clients elsewhere than to loopback: proxies, tracing, vendor accounts. Restored at the end."""
    names = [name for name in os.environ if name.upper().endswith("_PROXY") or name.startswith(("OPENAI_", "ANTHROPIC_"))]
    changed = {**dict.fromkeys(names), **_QUIET}
    before = {name: os.environ.get(name) for name in changed}
    _set_environment(changed)
    try:
        yield
    finally:
        _set_environment(before)


_QUIET: dict[str, str | None] = {
    "NO_PROXY": "*",
    "LANGSMITH_TRACING": "false",
    "LANGSMITH_TRACING_V2": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "OTEL_SDK_DISABLED": "true",
}


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
