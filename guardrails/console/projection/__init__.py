"""What the console's lists and plots are made from: derived from the ledger, entry by entry, and made again whenever that is needed."""

from guardrails.console.projection.projecting import Projection

__all__ = ["Projection"]
