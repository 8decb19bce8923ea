"""`guardrails ledger keys`: the log's signing keys, and how they change.

Exit status: 0 done, 1 refused or tampered, 2 usage.
"""

from __future__ import annotations

import json

import click

from guardrails.cli.ledger_options import json_option, ledger_option, load, opened_for_writing, reports_errors, signer_options
from guardrails.errors import UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.administration import retire_key, revoke_key, rotate_key
from guardrails.ledger.location import Location
from guardrails.ledger.note import Verifier
from guardrails.ledger.opening import KeyFiles

__all__ = ["keys"]

_reason_option = click.option("--reason", required=True, help="Why; recorded.")
_key_option = click.option("--key", "key_id", required=True, metavar="ID", help="The key, by the eight digits after its name.")


@click.group()
def keys() -> None:
    """Show the log's signing keys, and rotate, retire or revoke them."""


@keys.command()
@ledger_option
@json_option
@reports_errors
def show(url: str, as_json: bool) -> None:
    """Print the log's keys in the order of their coming, and the tree sizes for which each counts."""
    with Ledger.open(url, read_only=True) as log:
        history = log.keys()
    for period in history.periods:
        facts = {
            "key": str(period.verifier),
            "current": period.verifier == history.current,
            "first_size": period.first_size,
            "last_size": period.last_size,
            "revoked_from": period.revoked_from,
        }
        state = "current" if facts["current"] else "retired" if period.last_size is not None else "signs too"
        state = f"revoked from size {period.revoked_from} on" if period.revoked_from is not None else state
        click.echo(json.dumps(facts) if as_json else f"{period.verifier}  from size {period.first_size}, {state}")


@keys.command()
@click.option("--new", "new_uri", metavar="URI", help="The new key's signer; by default a new key file beside the ledger.")
@_reason_option
@ledger_option
@signer_options
@json_option
@reports_errors
def rotate(new_uri: str | None, reason: str, url: str, signer: str | None, previous: tuple[str, ...], as_json: bool) -> None:
    """Go over to a new signing key, endorsed by the old one. Both sign until the old one is retired."""
    with opened_for_writing(url, signer, previous) as log:
        files = KeyFiles(Location.parse(url))
        new = files.prepare(log.origin) if new_uri is None else load(new_uri, log.origin)
        index = rotate_key(log, new, reason=reason).index
        if new_uri is None:
            files.promote()
    text = f"entry {index}: the key is now {new.verifier()}\nTell those who verify; the old key signs too until it is retired."
    _print({"index": index, "key": str(new.verifier())}, text, as_json)


@keys.command()
@_key_option
@_reason_option
@ledger_option
@signer_options
@json_option
@reports_errors
def retire(key_id: str, reason: str, url: str, signer: str | None, previous: tuple[str, ...], as_json: bool) -> None:
    """End the time in which a key that was rotated out signs too."""
    with opened_for_writing(url, signer, previous) as log:
        key = _named(log, key_id)
        index = retire_key(log, key, reason=reason).index
        KeyFiles(Location.parse(url)).discard_previous(key)
    _print({"index": index, "key": str(key)}, f"entry {index}: {key} signs no more", as_json)


@keys.command()
@_key_option
@click.option("--from-size", type=click.IntRange(min=1), required=True, help="Smallest tree size that no longer counts.")
@_reason_option
@ledger_option
@signer_options
@json_option
@reports_errors
def revoke(
    key_id: str, from_size: int, reason: str, url: str, signer: str | None, previous: tuple[str, ...], as_json: bool
) -> None:
    """Take back the word of a key that leaked. Rotate first: the current key cannot revoke itself."""
    with opened_for_writing(url, signer, previous) as log:
        key = _named(log, key_id)
        index = revoke_key(log, key, from_size=from_size, reason=reason).index
        KeyFiles(Location.parse(url)).discard_previous(key)
    _print({"index": index, "key": str(key)}, f"entry {index}: {key} does not count from size {from_size} on", as_json)


def _named(log: Ledger, key_id: str) -> Verifier:
    for period in log.keys().periods:
        if period.verifier.key_hash.hex() == key_id.lower():
            return period.verifier
    raise UsageError("usage.input_invalid", f"The log has no key {key_id}.", hint="See `guardrails ledger keys show`.")


def _print(facts: dict[str, object], text: str, as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else text)
