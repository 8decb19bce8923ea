"""Verifies a folder of evidence from Python, with the very file that travels in each bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guardrails.errors import UsageError
from guardrails.ledger.evidence.verifier import Report, Usage, check
from guardrails.ledger.report import read_small_file

__all__ = ["verify_evidence"]


def verify_evidence(
    directory: str | Path,
    *,
    key: str | Path | Sequence[str | Path],
    since: str | Path | None = None,
    witnesses: Sequence[str | Path] = (),
    quorum: int = 0,
) -> Report:
    """Checks a folder that `export_evidence` wrote, as its ``verify.py`` does.

    Args:
        directory: The folder.
        key: The log's verifier key or keys, as text or as paths; they come from elsewhere, never from the folder.
        since: The last checkpoint of the log that was kept, as text or as a path.
        witnesses: Verifier keys of witnesses, as text or as paths.
        quorum: How many of the witnesses must have cosigned; 0 stands for all.

    Returns:
        What was proven and what was not; `Report.is_verified` tells whether everything fits.

    Raises:
        UsageError: No key is given, a key or `since` is malformed, or there is no such folder.
        LedgerError: A file with a key or a checkpoint is not a short text (ledger.note_invalid).
    """
    keys = [key] if isinstance(key, str | Path) else list(key)
    earlier = "" if since is None else _text(since, is_inline="\n" in str(since))
    try:
        return check(
            str(directory),
            [_text(given, is_inline="+" in str(given)).removesuffix("\n") for given in keys],
            earlier,
            [_text(given, is_inline="+" in str(given)).removesuffix("\n") for given in witnesses],
            quorum,
        )
    except Usage as error:
        raise UsageError("usage.input_invalid", f"{error}.") from error


def _text(given: str | Path, *, is_inline: bool) -> str:
    return str(given) if isinstance(given, str) and is_inline else read_small_file(Path(given))
