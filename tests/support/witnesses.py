"""Witnesses as real processes on loopback, and logs that grow, roll back and fork."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from guardrails.ledger.checkpoint import Checkpoint, sign_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.merkle import consistency_proof, leaf_hash, root_hash

COMMAND = [sys.executable, "-c", "from guardrails.cli.witness import witness; witness(prog_name='witness')"]
LOG = Ed25519Signer("example.com/log", b"s" * 32)
LEAVES = [leaf_hash(bytes([n])) for n in range(200)]
FORK = [*LEAVES[:5], *(leaf_hash(b"fork" + bytes([n])) for n in range(195))]


def head(size: int, leaves: list[bytes] = LEAVES) -> str:
    """The log's signed checkpoint of its first `size` leaves."""
    return sign_checkpoint(Checkpoint(LOG.verifier().name, size, root_hash(leaves[:size])), LOG)


def proofs(leaves: list[bytes] = LEAVES) -> Callable[[int, int], list[bytes]]:
    """What proves that a tree over these leaves grew."""
    return lambda old, new: consistency_proof(leaves[:new], old)


def command(*arguments: object) -> dict[str, object]:
    """Runs `witness … --json` to its end."""
    done = subprocess.run([*COMMAND, *map(str, arguments), "--json"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


@dataclass(frozen=True)
class RunningWitness:
    """A witness that answers at `url` under `keys`, in a process of its own."""

    url: str
    keys: list[str]
    process: subprocess.Popen[str]


def make_witness(folder: Path, name: str, *options: str) -> list[str]:
    """Makes a witness that knows LOG, and returns its verifier keys."""
    keys = command("init", "--state", folder, "--name", name, *options)["verifier_keys"]
    command("add-log", "--state", folder, str(LOG.verifier()))
    assert isinstance(keys, list)
    return keys


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[RunningWitness]:
    """Serves the witness in `folder` until the block ends."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--state", str(folder), "--port", str(port), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the witness did not start"
        facts = json.loads(line)
        yield RunningWitness(facts["url"], facts["keys"], process)
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
