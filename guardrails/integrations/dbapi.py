"""The guard as a database driver (PEP 249); see `guardrails.adapters.dbapi`."""

from guardrails.adapters.dbapi import *  # noqa: F403  a driver is a module with all the names that PEP 249 asks for
from guardrails.adapters.dbapi import __all__ as __all__
