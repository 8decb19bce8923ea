"""What the commands under `guardrails ledger` share: options, and how errors become a line and an exit status."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

import click

from guardrails.errors import GuardrailsError, UsageError
from guardrails.ledger import Ledger, Signer
from guardrails.ledger.signers import load_signer

__all__ = [
    "TAMPERED_STATUS",
    "USAGE_STATUS",
    "json_option",
    "ledger_option",
    "load",
    "opened_for_writing",
    "reports_errors",
    "signer_options",
]

P = ParamSpec("P")

TAMPERED_STATUS = 1
USAGE_STATUS = 2
_USAGE_CODES = frozenset({"ledger.index_range", "ledger.unavailable", "ledger.key_missing"})

ledger_option = click.option(
    "--ledger", "url", required=True, metavar="URL_OR_PATH", help="sqlite:///path, a path, or postgresql://…"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


_signer_option = click.option("--signer", metavar="URI", help="The log's signer; by default the key file beside the ledger.")
_previous_option = click.option(
    "--previous", metavar="URI", multiple=True, help="Signer of a key that was rotated out and signs too."
)


def signer_options(command: Callable[P, None]) -> Callable[P, None]:
    """Adds `--signer` and `--previous`."""
    return _signer_option(_previous_option(command))


def load(uri: str, name: str) -> Signer:
    """Returns a signer; passphrases that no environment variable holds are asked for at the terminal."""
    return load_signer(uri, name=name, ask=lambda what: str(click.prompt(what, hide_input=True, err=True)))


@contextmanager
def opened_for_writing(url: str, signer: str | None, previous: tuple[str, ...]) -> Iterator[Ledger]:
    """Opens a ledger that exists with its signers."""
    with Ledger.open(url, read_only=True) as log:
        origin = log.origin
    chosen = None if signer is None else load(signer, origin)
    with Ledger.open(url, signer=chosen, previous=[load(uri, origin) for uri in previous]) as log:
        yield log


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turns the library's errors into a line on standard error and an exit status.

    Where signed checkpoints contradict each other they are the evidence: they are written too, and so is all evidence with ``--json``.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except GuardrailsError as error:
            click.echo(f"error: {error}", err=True)
            if isinstance(error, UsageError) or error.code in _USAGE_CODES:
                sys.exit(USAGE_STATUS)
            if kwargs.get("as_json"):
                click.echo(json.dumps({"verified": False, **error.diagnostics()}))
            elif error.code == "ledger.inconsistent":
                for name in ("old", "new"):
                    click.echo(f"\n{name} checkpoint:\n{_printable(str(error.evidence.get(name, '')))}", err=True, nl=False)
            sys.exit(TAMPERED_STATUS)

    return wrapped


def _printable(text: str) -> str:
    # Others wrote these notes: no control sequence of theirs reaches the terminal.
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
