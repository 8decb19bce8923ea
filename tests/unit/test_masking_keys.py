"""Where the mask key comes from, who may read it, and that processes which start at once share one."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from guardrails.errors import UsageError
from guardrails.masking import MaskKeyring, open_keyring

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
