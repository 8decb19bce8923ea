"""How many questions about real values of protected columns a session has asked, counted across its threads and tasks."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

__all__ = ["ProbeBudget"]


@dataclass(slots=True)
class ProbeBudget:
    """Counts the probes of one session."""

    _spent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def spend(self, probes: int, limit: int) -> tuple[bool, int]:
        """Takes probes, all or none of them.

        Args:
            probes: How many a statement needs.
            limit: How many the session has in all.

        Returns:
            Whether the limit covers them, and how many are left afterwards.

        Example:
            >>> budget = ProbeBudget()
            >>> budget.spend(3, 5), budget.spend(3, 5), budget.spend(2, 5)
            ((True, 2), (False, 2), (True, 0))
        """
        with self._lock:
            left = max(limit - self._spent, 0)
            if probes > left:
                return False, left
            self._spent += probes
            return True, left - probes
