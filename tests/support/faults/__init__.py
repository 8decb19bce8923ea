"""Faults in system calls, in processes that append to a ledger: injected by a preloaded library, judged from outside.

`shim.c` is the library, `nursery` the process that it is preloaded into and that forks one child for each case, `workload` what
a child does, `aftermath` what must hold once it has ended, and `power` what a loss of power would have left.
"""

from tests.support.faults.aftermath import Aftermath, examine
from tests.support.faults.nursery import Case, Ended, Nursery, compiler
from tests.support.faults.power import power_cuts

__all__ = ["Aftermath", "Case", "Ended", "Nursery", "compiler", "examine", "power_cuts"]
