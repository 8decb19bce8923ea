"""From what a person writes to where a log is published: a folder, an object store or the prefix of a web server."""

from __future__ import annotations

from pathlib import Path

from guardrails.errors import UsageError
from guardrails.ledger.publishing.directory import DirectoryTarget
from guardrails.ledger.publishing.objects import ObjectTarget
from guardrails.ledger.publishing.source import Reader, Target
from guardrails.ledger.publishing.web import WebReader

__all__ = ["open_reader", "open_target"]

_STORES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "memory")


def open_target(place: str | Path) -> Target:
    """Opens where a log is published to: a folder, or ``s3://bucket/folder``, ``gs://…``, ``az://…``.

    Raises:
        UsageError: It is neither (usage.input_invalid), or obstore is not installed (usage.extra_missing).
    """
    scheme, separator, rest = str(place).partition("://")
    if not separator:
        return DirectoryTarget(place)
    if scheme == "file":
        return DirectoryTarget(rest)
    if scheme in _STORES:
        return ObjectTarget.open(str(place))
    raise UsageError("usage.input_invalid", f"Nothing can be published to {scheme}://.", hint="Give a folder or s3://bucket.")


def open_reader(place: str | Path) -> Reader:
    """Opens where a log is read from: an http or https prefix, or what `open_target` takes.

    Raises:
        UsageError: It is neither (usage.input_invalid), or obstore is not installed (usage.extra_missing).
    """
    return WebReader(str(place)) if str(place).startswith(("http://", "https://")) else open_target(place)
