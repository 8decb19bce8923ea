"""An independent witness and verifier (aics-witness and aics-tlog from the package index) against ours, in both directions.

They need Python 3.12 and live in an environment of their own: `GUARDRAILS_AICS_BIN` names the folder of its commands, else one is made
once in pytest's cache.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guardrails.errors import LedgerError
from guardrails.ledger.note import Note, Verifier, open_note
from guardrails.ledger.witnessing.cosigning import cosign
from guardrails.ledger.witnessing.quorum import parse_policy
from tests.conftest import missing
from tests.support.witnesses import FORK, LOG, head, make_witness, proofs, running

PACKAGES = ["aics-tlog==0.2.1", "aics-witness==0.1.0"]
FEEDER = """
import json, sys
from aics_tlog import MerkleTree, verify_consistency
from aics_witness.feeder import WitnessClient, WitnessRejected, WitnessAhead, merge_cosignatures

job = json.load(sys.stdin)
proof = lambda old, new: [bytes.fromhex(h) for h in job["proofs"][f"{old}-{new}"]]
out = []
with WitnessClient(job["url"], job["key"], max_attempts=1) as client:
    for note in job["notes"]:
        try:
            out.append(merge_cosignatures(note, client.submit(note, proof)).decode())
        except (WitnessRejected, WitnessAhead) as error:
            out.append([type(error).__name__, getattr(error, "status", getattr(error, "known_size", None))])
print(json.dumps(out))
"""


def _pythons() -> list[str]:
    named = [shutil.which(f"python3.{minor}") for minor in range(14, 11, -1)]
    versions = sorted((Path.home() / ".pyenv" / "versions").glob("3.1[2-9]*/bin/python3"))
    return [sys.executable, *(p for p in named if p), *map(str, versions)]


def _is_new_enough(python: str) -> bool:
    check = "import sys, venv; sys.exit(sys.version_info < (3, 12))"
    return subprocess.run([python, "-c", check], capture_output=True, check=False, timeout=60).returncode == 0


@pytest.fixture(scope="module")
def judges(pytestconfig: pytest.Config) -> Path:
    """The folder with the commands of the independent packages."""
    named = os.environ.get("GUARDRAILS_AICS_BIN")
    if named:
        return Path(named)
    assert pytestconfig.cache is not None
    home = Path(pytestconfig.cache.mkdir("aics")) / "-".join(PACKAGES)
    with home.with_suffix(".lock").open("w") as lock:
        # Several workers may ask; one makes it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            _install(home)
    return home / "bin"


def _install(home: Path) -> None:
    python = next((p for p in _pythons() if _is_new_enough(p)), None)
    if python is None:
        missing("aics-witness needs Python 3.12 or later")
        raise AssertionError
    subprocess.run([python, "-m", "venv", "--clear", "--without-pip", str(home)], check=True, capture_output=True, timeout=120)
    # The other environment needs no pip of its own.
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet", *PACKAGES]
    done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        missing(f"aics-witness cannot be installed: {done.stderr[-300:]}")
    (home / "complete").touch()


@contextmanager
def foreign_witness(judges: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Runs the foreign witness, which trusts LOG; yields its URL and verifier key."""
    folder.mkdir(exist_ok=True)
    config = ["--config", str(folder / "witness.json")]
    tool = str(judges / "aics-witness")
    made = subprocess.run([tool, "init", *config, "--name", "foreign.example/w"], capture_output=True, text=True, check=True)
    key = LOG.verifier()
    subprocess.run([tool, "add-log", *config, "--origin", key.name, "--vkey", str(key)], capture_output=True, check=True)
    process = subprocess.Popen([tool, "serve", *config, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if url := re.search(r"listening on (http://[0-9.:]+)", line):
                break
        else:
            raise AssertionError("the foreign witness did not start")
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        yield url[1], made.stdout.strip().splitlines()[-1]
    finally:
        process.terminate()
        process.wait(20)
        drain.join(5)
        process.stderr.close()


def test_a_foreign_witness_cosigns_for_our_client(judges: Path, tmp_path: Path) -> None:
    with foreign_witness(judges, tmp_path / "w") as (url, key):
        policy = parse_policy(f"log {LOG.verifier()}\nwitness f {key} {url}\nquorum f\n")
        for size in (0, 1, 7, 64, 64, 65, 200):
            note = cosign(head(size), policy, proofs())
            assert policy.is_met(note)
        assert policy.is_met(cosign(head(200), policy, proofs(), previous=note))
        with pytest.raises(LedgerError, match="has seen 200 entries"):
            cosign(head(199), policy, proofs())
    with foreign_witness(judges, tmp_path / "v") as (url, key):
        policy = parse_policy(f"witness f {key} {url}\nquorum f\n")
        note = cosign(head(64), policy, proofs())
        for size in (64, 70):
            with pytest.raises(LedgerError, match="refused with 422"):
                cosign(head(size, FORK), policy, proofs(FORK), previous=note)


def test_a_foreign_verifier_accepts_what_our_client_brings(judges: Path, tmp_path: Path) -> None:
    (ours,) = make_witness(tmp_path / "ours", "ours.example/w")
    with foreign_witness(judges, tmp_path / "w") as (url, key), running(tmp_path / "ours") as witness:
        policy = parse_policy(f"witness f {key} {url}\nwitness o {ours} {witness.url}\ngroup g all f o\nquorum g\n")
        note = cosign(head(77), policy, proofs())
    verify = [str(judges / "aics-tlog"), "verify-checkpoint", "--note", "-", "--log-key", str(LOG.verifier())]
    verify += ["--witness-key", key, "--witness-key", ours, "--quorum", "2", "--max-age", "60"]
    good = subprocess.run(verify, input=note, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stdout + good.stderr
    parsed = Note.parse(note)
    for bad in (note.replace("\n77\n", "\n78\n"), str(Note(parsed.text, parsed.lines[:2]))):
        assert subprocess.run(verify, input=bad, capture_output=True, text=True, check=False).returncode != 0


@pytest.mark.parametrize("options", [(), ("--ml-dsa",)], ids=["ed25519", "and-ml-dsa"])
def test_a_foreign_client_is_served_by_our_witness(judges: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    keys = make_witness(tmp_path / "w", "ours.example/w", *options)
    sizes = (3, 64, 64, 200, 150)
    notes = [*(head(size) for size in sizes), head(200, FORK)]
    job = {
        "key": keys[0],
        "notes": notes,
        "proofs": {f"{a}-{b}": [h.hex() for h in proofs()(a, b)] for a in sizes for b in sizes if 0 < a < b},
    }
    with running(tmp_path / "w") as witness:
        job["url"] = witness.url
        done = subprocess.run(
            [str(judges / "python"), "-c", FEEDER],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    *granted, rolled_back, forked = json.loads(done.stdout)
    for note, merged in zip(notes, granted, strict=False):
        assert open_note(merged, [Verifier.parse(keys[0])]) == Note.parse(note).text
    assert rolled_back == ["WitnessAhead", 200]
    assert forked == ["WitnessRejected", 422]


def test_the_example_of_the_specification_is_verified() -> None:
    """From c2sp.org/signed-note, section Verifier keys."""
    key = Verifier.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    line = "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
    text = "This is an example message.\n"
    assert open_note(f"{text}\n{line}\n", [key]) == text
    with pytest.raises(LedgerError):
        open_note(f"{text}.\n\n{line}\n", [key])
