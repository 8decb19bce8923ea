"""The engines as judges of `Access`: see `tests.support.oracles.base`."""

from tests.support.oracles.base import Examination, Examiner, Finding, Oracle, Verdict

__all__ = ["Examination", "Examiner", "Finding", "Oracle", "Verdict"]
