"""Engines: a plan is executed under lock-down, as far as each database can be locked down."""

from guardrails.engines.base import Engine
from guardrails.engines.opening import open_engine
from guardrails.engines.places import place_of

__all__ = ["Engine", "open_engine", "place_of"]
