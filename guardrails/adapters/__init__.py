"""A guard in the place of a database driver: as a PEP 249 module, and as SQLAlchemy's engines."""

from guardrails.adapters.executor import Executor

__all__ = ["Executor"]
