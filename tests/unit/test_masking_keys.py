"""Where the mask key comes from, who may read it, and that processes which start at once share one."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.verify import verify
from guardrails.masking import MaskKeyring, open_keyring
from guardrails.rotation import rotate_mask_key
from tests.support.command_line import call

KEY = bytes(range(32))
NONE: dict[str, str] = {}


@pytest.mark.parametrize("text", [KEY.hex(), KEY.hex().upper() + "\n", base64.b64encode(KEY).decode()])
def test_the_environment_comes_first(tmp_path: Path, text: str) -> None:
    assert open_keyring(tmp_path / "audit.db", environment={"GUARDRAILS_MASK_KEY": text}).key == KEY
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "abc", KEY.hex()[:-2], base64.b64encode(KEY[:16]).decode(), "z" * 64, "%" * 44])
def test_a_malformed_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_keyring(tmp_path / "audit.db", environment={"GUARDRAILS_MASK_KEY": text})
    assert refused.value.code == "usage.input_invalid"
    assert not text or text not in str(refused.value.diagnostics())


def test_a_key_is_made_beside_the_ledger_and_kept(tmp_path: Path) -> None:
    made = open_keyring(f"sqlite:///{tmp_path / 'audit.db'}", environment=NONE)
    path = tmp_path / "audit.db.mask-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_keyring(tmp_path / "audit.db", environment=NONE) == made
    assert made.key.hex() not in repr(made)
    path.chmod(0o644)
    with pytest.raises(UsageError):
        open_keyring(tmp_path / "audit.db", environment=NONE)


def test_those_who_start_at_once_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: open_keyring(tmp_path / "audit.db", environment=NONE).key, range(32)))
    assert len(keys) == 1
    assert os.listdir(tmp_path) == ["audit.db.mask-key"]


def test_memory_has_a_key_of_its_own_and_servers_need_the_variable(tmp_path: Path) -> None:
    assert open_keyring("sqlite:///:memory:", environment=NONE) != open_keyring(":memory:", environment=NONE)
    with pytest.raises(UsageError):
        open_keyring("postgresql://host/db", environment=NONE)
    with pytest.raises(UsageError):
        open_keyring(tmp_path / "missing" / "audit.db", environment=NONE)
    with pytest.raises(UsageError):
        MaskKeyring(b"short")


OLDER = bytes(reversed(range(32)))


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY.hex()},{OLDER.hex()}",
        f"\n{KEY.hex()} 2026-11-28T01:02:03Z\n\n{OLDER.hex()}\n",
        f" {base64.b64encode(KEY).decode()} , {OLDER.hex().upper()} ",
    ],
)
def test_several_keys_the_current_one_first(tmp_path: Path, text: str) -> None:
    keyring = open_keyring(tmp_path / "audit.db", environment={"GUARDRAILS_MASK_KEY": text})
    assert (keyring.key, keyring.earlier) == (KEY, (OLDER,))
    assert keyring.made_at[1] is None
    assert MaskKeyring.parse(keyring.written()) == keyring
    assert len(set(keyring.fingerprints)) == 2
    assert not any(key.hex()[:16] in (repr(keyring), *keyring.fingerprints) for key in keyring.keys)


@pytest.mark.parametrize(
    "text", [f"{KEY.hex()},{KEY.hex()}", f"{KEY.hex()} yesterday", f"{KEY.hex()} 2026-11-28", ",", f"{KEY.hex()},abc"]
)
def test_malformed_keyrings_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_keyring(tmp_path / "audit.db", environment={"GUARDRAILS_MASK_KEY": text})
    assert KEY.hex() not in str(refused.value.diagnostics())


def test_an_old_key_file_of_one_line_is_rotated_and_recorded(tmp_path: Path) -> None:
    path = tmp_path / "audit.db.mask-key"
    path.write_text(KEY.hex() + "\n")
    path.chmod(0o600)
    with Ledger.open(tmp_path / "audit.db") as ledger:
        first = rotate_mask_key(ledger, by="ana", environment=NONE)
        second = rotate_mask_key(ledger, environment=NONE)
        assert second.earlier == (first.key, KEY)
        entry = ledger.entry(ledger.size - 1)
        assert (entry["type"], entry["fingerprint"]) == ("mask_key.rotated", second.fingerprints[0])
        assert (entry["previous"], entry["by"]) == (first.fingerprints[0], None)
    assert open_keyring(tmp_path / "audit.db", environment=NONE) == second
    assert second.made_at[0] is not None
    assert second.made_at[2] is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert verify(tmp_path / "audit.db").problems == ()
    assert not any("tmp" in name or "next" in name for name in os.listdir(tmp_path))
    written = (tmp_path / "audit.db").read_bytes()
    assert not any(key in written or key.hex().encode() in written for key in second.keys)


def test_what_cannot_be_recorded_is_not_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_keyring(tmp_path / "audit.db", environment=NONE)
    with Ledger.open(tmp_path / "audit.db") as ledger:

        def fail(*_: object, **__: object) -> None:
            raise LedgerError("ledger.unavailable", "full")

        monkeypatch.setattr(ledger, "append", fail)
        with pytest.raises(LedgerError):
            rotate_mask_key(ledger, environment=NONE)
        monkeypatch.undo()
        assert open_keyring(tmp_path / "audit.db", environment=NONE) == before
        with pytest.raises(UsageError, match="GUARDRAILS_MASK_KEY"):
            rotate_mask_key(ledger, environment={"GUARDRAILS_MASK_KEY": KEY.hex()})
        waiting = tmp_path / "audit.db.mask-key.next"
        waiting.touch()
        with pytest.raises(UsageError, match="under way"):
            rotate_mask_key(ledger, environment=NONE)
        waiting.unlink()
        (tmp_path / "audit.db.mask-key").chmod(0o644)
        with pytest.raises(UsageError, match="open to others"):
            rotate_mask_key(ledger, environment=NONE)
        assert ledger.size == 0
        (tmp_path / "audit.db.mask-key").unlink()
        with pytest.raises(UsageError, match="no mask key"):
            rotate_mask_key(ledger, environment=NONE)
    assert "audit.db.mask-key.next" not in os.listdir(tmp_path)
    with Ledger.open("sqlite:///:memory:") as memory, pytest.raises(UsageError):
        rotate_mask_key(memory, environment=NONE)


def test_no_rotation_is_lost_when_several_run_at_once(tmp_path: Path) -> None:
    open_keyring(tmp_path / "audit.db", environment=NONE)
    done = []

    def rotate(_: int) -> None:
        with Ledger.open(tmp_path / "audit.db") as ledger:
            try:
                done.append(rotate_mask_key(ledger, environment=NONE).key)
            except UsageError as error:
                assert "under way" in error.message

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rotate, range(8)))
    assert done
    assert set(done) == set(open_keyring(tmp_path / "audit.db", environment=NONE).keys[:-1])


def test_the_command_shows_fingerprints_and_never_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GUARDRAILS_MASK_KEY", raising=False)
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    assert call("mask-key", "show", "--ledger", url).status == 2
    assert call("mask-key", "rotate", "--ledger", url).status == 2
    Ledger.open(url).close()
    keyring = open_keyring(url)
    (shown,) = call("mask-key", "show", "--ledger", url, "--json").lines()
    assert (shown["fingerprint"], shown["is_current"]) == (keyring.fingerprints[0], True)
    rotated = call("mask-key", "rotate", "--ledger", url, "--by", "ana", "--reason", "yearly")
    assert rotated.status == 0
    plain = call("mask-key", "show", "--ledger", url)
    assert [line.split()[0] for line in plain.stdout.decode().splitlines()] == list(open_keyring(url).fingerprints)
    assert keyring.fingerprints[0] in plain.stdout.decode().splitlines()[1]
    output = plain.stdout + plain.stderr + rotated.stdout + rotated.stderr
    assert not any(key.hex().encode() in output for key in open_keyring(url).keys)
