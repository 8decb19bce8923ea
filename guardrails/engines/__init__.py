"""Engines: a plan is executed under lock-down, as far as each database can be locked down."""

from guardrails.engines.base import Engine, TransactionalEngine, Work
from guardrails.engines.opening import open_engine
from guardrails.engines.places import is_same_database, place_of

__all__ = ["Engine", "TransactionalEngine", "Work", "is_same_database", "open_engine", "place_of"]
