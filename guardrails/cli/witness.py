"""`guardrails ledger witness`: run a witness that cosigns checkpoints of other people's ledgers (C2SP tlog-witness).

A witness is a folder: its keys in files of mode 0600, its state in `state.db`. Exit status: 0 done, 1 the state does not fit the
keys or cannot be used, 2 usage.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger.cosignature import Cosigner
from guardrails.ledger.keys import write_private
from guardrails.ledger.note import Verifier, base64_text
from guardrails.ledger.report import read_small_file
from guardrails.ledger.signature_types import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44
from guardrails.ledger.witnessing.server import WitnessServer
from guardrails.ledger.witnessing.state import SQLiteState
from guardrails.ledger.witnessing.witness import Witness

__all__ = ["witness"]

_STATE = "state.db"
_KEYS = {COSIGNATURE_ED25519: "witness.key", COSIGNATURE_ML_DSA_44: "witness.ml-dsa-44.key"}

_state_option = click.option(
    "--state",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the witness: keys and state. Not where the ledger is.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")


@click.group()
def witness() -> None:
    """Run a witness that cosigns checkpoints of ledgers."""


@witness.command()
@_state_option
@click.option("--name", required=True, help="Name of the witness, such as witness.example.com/w1; it cannot be changed.")
@click.option("--ml-dsa", is_flag=True, help="Make an ML-DSA-44 key too; both cosign.")
@_json_option
def init(folder: Path, name: str, ml_dsa: bool, as_json: bool) -> None:
    """Make the keys and the state of a new witness, and print its verifier keys."""
    types = [COSIGNATURE_ED25519, *([COSIGNATURE_ML_DSA_44] if ml_dsa else [])]
    taken = [file for file in (_STATE, *_KEYS.values()) if (folder / file).exists()]
    if taken:
        raise UsageError("usage.input_invalid", f"{folder} holds a witness already ({taken[0]}).")
    signers = [Cosigner.generate(name, kind) for kind in types]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for kind, signer in zip(types, signers, strict=True):
        write_private(folder / _KEYS[kind], signer.secret_text() + "\n", mode=0o600)
    SQLiteState.create(folder / _STATE, _verifiers(signers)).close()
    _print({"verifier_keys": [str(v) for v in _verifiers(signers)]}, as_json)


@witness.command("add-log")
@_state_option
@click.argument("key", metavar="KEY_OR_FILE")
@click.option("--remove", is_flag=True, help="Trust the key no longer; what was seen of the log is kept.")
@_json_option
def add_log(folder: Path, key: str, remove: bool, as_json: bool) -> None:
    """Trust the verifier key of a log; its name is the log's origin. A second key of one origin lets the log rotate."""
    text = key if "+" in key and not Path(key).exists() else read_small_file(Path(key)).removesuffix("\n")
    verifier = Verifier.parse(text)
    with _opened(folder) as (_, state):
        if remove:
            state.distrust(verifier)
        else:
            state.trust(verifier)
        _print({"origin": verifier.name, "keys": [str(v) for v in state.keys(verifier.name)]}, as_json)


@witness.command()
@_state_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=7380, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 picks a free one.")
@_json_option
def serve(folder: Path, host: str, port: int, as_json: bool) -> None:
    """Answer add-checkpoint requests until interrupted. The first line printed names the URL."""
    with _opened(folder) as (signers, state):
        served = Witness(signers, state, clock=lambda: int(time.time()))
        try:
            server = WitnessServer(served, host, port)
        except OSError as error:
            raise UsageError("usage.input_invalid", f"Cannot listen on {host}, port {port}: {error.strerror}.") from error
        with server:
            shown = f"[{host}]" if ":" in host else host
            _print({"url": f"http://{shown}:{server.server_port}", "keys": [str(v) for v in _verifiers(signers)]}, as_json)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                click.echo("stopped", err=True)


@witness.command()
@_state_option
@_json_option
def show(folder: Path, as_json: bool) -> None:
    """Print the witness's keys and, for each log, what it saw last and how many forks it refused."""
    with _opened(folder) as (signers, state):
        logs = []
        for origin in state.origins():
            head = state.head(origin)
            logs.append(
                {
                    "origin": origin,
                    "keys": [str(v) for v in state.keys(origin)],
                    "size": head.size if head else 0,
                    "root": base64_text(head.root) if head else None,
                    "time": head.time_s if head else None,
                    "evidence": [{"reason": reason, "request": request} for reason, request in state.evidence(origin)],
                }
            )
        if as_json:
            click.echo(json.dumps({"keys": [str(v) for v in _verifiers(signers)], "logs": logs}))
            return
        for verifier in _verifiers(signers):
            click.echo(f"key: {verifier}")
        for log in logs:
            forks = len(log["evidence"]) if isinstance(log["evidence"], list) else 0
            click.echo(f"{log['origin']}: {log['size']} entries, root {log['root']}, {forks} refused forks")


@contextmanager
def _opened(folder: Path) -> Iterator[tuple[list[Cosigner], SQLiteState]]:
    signers = [_load(folder / file) for file in _KEYS.values() if (folder / file).is_file()]
    if not signers:
        raise LedgerError("ledger.key_missing", f"There is no witness in {folder}.", hint="Make one with `witness init`.")
    with SQLiteState.open(folder / _STATE, _verifiers(signers)) as state:
        yield signers, state


def _load(path: Path) -> Cosigner:
    if path.stat().st_mode & 0o077:
        raise LedgerError(
            "ledger.unavailable",
            f"The key {path.name} is open to others than its owner.",
            hint="Set its mode to 600; if others could read it, retire this witness.",
        )
    return Cosigner.parse(read_small_file(path).removesuffix("\n"))


def _verifiers(signers: list[Cosigner]) -> tuple[Verifier, ...]:
    return tuple(signer.verifier() for signer in signers)


def _print(facts: dict[str, object], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        for item in value if isinstance(value, list) else [value]:
            click.echo(f"{name}: {item}")
