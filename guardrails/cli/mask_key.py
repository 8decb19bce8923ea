"""`guardrails mask-key`: which keys stand behind the tokens, and a new one for those to come. No key is ever printed.

Exit status: 0 done, 2 usage.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import click

from guardrails.errors import UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.location import Location
from guardrails.masking.keys import KEY_VARIABLE, MaskKeyring, key_path, open_keyring
from guardrails.rotation import rotate_mask_key

__all__ = ["mask_key"]


@click.group("mask-key")
def mask_key() -> None:
    """Show and rotate the keys behind tokens."""


_ledger_option = click.option("--ledger", "url", required=True, metavar="URL_OR_PATH", help="sqlite:///path, or a path.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


@mask_key.command()
@_ledger_option
@_json_option
def show(url: str, as_json: bool) -> None:
    """Print fingerprint and date of each key, the current one first."""
    if KEY_VARIABLE not in os.environ:
        path = key_path(Location.parse(url).path or "")
        if path is None or not path.is_file():
            raise UsageError("usage.file_missing", "There is no mask key beside this ledger.")
    _print(open_keyring(Location.parse(url).path or ""), as_json)


@mask_key.command()
@_ledger_option
@click.option("--by", metavar="ID", help="Who rotates; recorded.")
@click.option("--reason", default="", help="Why; the ledger commits to it.")
@_json_option
def rotate(url: str, by: str | None, reason: str, as_json: bool) -> None:
    """Make a new key for new tokens; those of earlier keys can still be revealed. Open guards go on with the old one."""
    path = Location.parse(url).path
    if path is None or not path.is_file():
        raise UsageError("usage.file_missing", "There is no such ledger.")
    with Ledger.open(url) as ledger:
        _print(rotate_mask_key(ledger, by=by, reason=reason), as_json)


def _print(keyring: MaskKeyring, as_json: bool) -> None:
    for number, (fingerprint, at) in enumerate(zip(keyring.fingerprints, keyring.made_at, strict=True)):
        made = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else None
        if as_json:
            click.echo(json.dumps({"fingerprint": fingerprint, "made_at": made, "is_current": number == 0}))
        else:
            click.echo(f"{fingerprint}  {made or 'date not known':<20}  {'' if number else 'current'}".rstrip())
