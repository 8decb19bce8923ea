"""What all native pauses share: what a paused run shows to the application around it.

A pause and its end carry no authority. Whoever resumes a run says only that it is time to look again; the answer itself is in the store,
given by a person who signed in to the console or whose verified token the application hands to `Guard.approve`. So a stored or replayed
resumption, or one that the requester sends, permits nothing, and no token lies in a framework's checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping

from guardrails.approval.notice import Notice, notice_facts
from guardrails.model import ApprovalRequest

__all__ = ["is_pause", "pause_facts"]

_TYPE = "guardrails.approval"


def pause_facts(request: ApprovalRequest, console_url: str | None) -> dict[str, object]:
    """Returns what a paused run shows: JSON with a `type`, and of the request what a notice tells; neither statement nor values."""
    return {"type": _TYPE, **notice_facts(Notice.of_request(request), console_url)}


def is_pause(value: object) -> bool:
    """Tells whether a paused run waits for an approval of ours."""
    return isinstance(value, Mapping) and value.get("type") == _TYPE
