"""What of a policy the database itself holds: set up once by `guardrails policy install`, verified whenever it is used."""

from guardrails.install.report import Installed, State
from guardrails.install.trusted import trusted

__all__ = ["Installed", "State", "trusted"]
