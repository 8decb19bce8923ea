"""A guard as SQLAlchemy's engines, and in engines that an application has already; see `guardrails.adapters.alchemy`.

`Guard.engine`, `Guard.async_engine` and `Guard.install` are the same. Refusals are raised as they are (`Denied`, `ApprovalRequired`), not
wrapped in SQLAlchemy's errors.
"""

from guardrails.adapters.alchemy import guarded_async_engine, guarded_engine, install

__all__ = ["guarded_async_engine", "guarded_engine", "install"]
