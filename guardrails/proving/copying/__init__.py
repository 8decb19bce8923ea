"""Copying the schema of a database, and never its data, into scratch databases beside it."""

from guardrails.proving.copying.opening import open_workshop
from guardrails.proving.copying.schema import Definition, ForeignKey, SourceSchema
from guardrails.proving.copying.workshop import Scratch, Workshop

__all__ = ["Definition", "ForeignKey", "Scratch", "SourceSchema", "Workshop", "open_workshop"]
