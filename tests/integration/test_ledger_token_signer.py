"""A ledger is signed by an Ed25519 key that never leaves its PKCS#11 token: SoftHSM here, driven by its own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from guardrails.errors import LedgerError, UsageError
from guardrails.ledger import Ledger
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.note import Signer, Verifier
from guardrails.ledger.signers import load_signer
from tests.conftest import missing

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so")
NAME = "example.com/log"
PIN = "98765-planted-pin"


@pytest.fixture(scope="module")
def module() -> str:
    """Path of SoftHSM's module, with a token `ledger` that holds two Ed25519 keys and a P-256 key."""
    path = next((path for path in MODULES if Path(path).is_file()), None)
    if path is None or shutil.which("softhsm2-util") is None or shutil.which("pkcs11-tool") is None:
        missing("SoftHSM and OpenSC are not installed")
    _needs_package()
    return path


@pytest.fixture(scope="module")
def token(module: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    # SoftHSM reads it from the environment when the module is first used in this process.
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    _run("softhsm2-util", "--init-token", "--free", "--label", "ledger", "--so-pin", "1234567890", "--pin", PIN)
    for number, kind in (("01", "EC:edwards25519"), ("02", "EC:edwards25519"), ("03", "EC:prime256v1")):
        options = ["--module", module, "--login", "--pin", PIN, "--token-label", "ledger", "--keypairgen"]
        _run("pkcs11-tool", *options, "--key-type", kind, "--label", f"key-{number}", "--id", number)
    yield "pkcs11:token=ledger;id=%{number}?module-path=" + module
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def _needs_package() -> None:
    if find_spec("pkcs11") is None:
        missing("python-pkcs11 is not installed")


def _run(*command: str) -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def _load(token: str, number: str, **settings: object) -> Signer:
    settings = {"name": NAME, "environment": {"GUARDRAILS_LEDGER_PIN": PIN}} | settings
    return load_signer(token.replace("{number}", number), **settings)  # type: ignore[arg-type]


def test_a_ledger_is_signed_in_the_token(token: str) -> None:
    signer = _load(token, "01")
    with Ledger.open("sqlite:///:memory:", signer=signer) as ledger:
        ledger.append_many({"n": n} for n in range(5))
        assert open_checkpoint(ledger.checkpoint(), Verifier.parse(str(signer.verifier()))).size == 5
    assert len(signer.sign(b"message")) == 64
    assert PIN not in repr(signer)


def test_two_keys_of_one_token_sign_side_by_side(token: str) -> None:
    old, new = _load(token, "01"), _load(token, "02")
    assert old.verifier().public_key != new.verifier().public_key
    for signer in (old, new, old):
        assert signer.verifier().is_valid(b"message", signer.sign(b"message"))


def test_many_threads_share_the_token(token: str) -> None:
    signer = _load(token, "01")

    def work(number: int) -> bool:
        message = b"%d" % number
        return signer.verifier().is_valid(message, signer.sign(message))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(80)))


def test_several_processes_share_the_token(token: str) -> None:
    uri = token.replace("{number}", "01")
    program = f"""
from guardrails.ledger.signers import load_signer
signer = load_signer({uri!r}, name={NAME!r})
assert all(signer.verifier().is_valid(b"%d" % n, signer.sign(b"%d" % n)) for n in range(30))
print(signer.verifier())
"""
    environment = os.environ | {"GUARDRAILS_LEDGER_PIN": PIN}
    command = [sys.executable, "-c", program]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) for _ in range(3)
    ]
    answers = [process.communicate(timeout=60) for process in running]
    assert {out.strip() for out, _ in answers} == {str(_load(token, "01").verifier())}, answers


def test_the_pin_comes_from_a_private_file_or_a_person(token: str, tmp_path: Path) -> None:
    asked: list[str] = []
    assert _load(token, "01", environment={}, ask=lambda what: asked.append(what) or PIN)
    assert asked == ["PIN of pkcs11:token=ledger;id=01"]
    (tmp_path / "pin").write_text(PIN + "\n")
    (tmp_path / "pin").chmod(0o644)
    uri = f"{token}&pin-source=file:{tmp_path}/pin"
    with pytest.raises(LedgerError, match="open to others"):
        _load(uri, "01", environment={})
    (tmp_path / "pin").chmod(0o600)
    assert _load(uri, "01", environment={})


@pytest.mark.parametrize("number", ["03", "04"])
def test_a_key_of_another_kind_or_none_is_refused(token: str, number: str) -> None:
    with pytest.raises(LedgerError) as caught:
        _load(token, number)
    assert caught.value.code == "ledger.key_missing"


def test_another_token_and_a_key_without_a_name_are_refused(token: str) -> None:
    with pytest.raises(LedgerError, match="matches 0 tokens"):
        _load(token.replace("token=ledger", "token=other"), "01")
    with pytest.raises(UsageError, match="key name is needed"):
        _load(token, "01", name=None)


def test_a_module_that_is_none_is_refused() -> None:
    _needs_package()
    with pytest.raises(LedgerError) as caught:
        _load("pkcs11:object=log?module-path=/nowhere/module.so", "01")
    assert caught.value.code == "ledger.signer_failed"


def test_a_wrong_pin_is_refused_and_not_shown(token: str) -> None:
    # A login holds for a whole process, so this asks from another one.
    program = f"""
import traceback
from guardrails.ledger.signers import load_signer
try:
    load_signer({token.replace("{number}", "01")!r}, name="n", environment={{"GUARDRAILS_LEDGER_PIN": "0000-planted-wrong"}})
except Exception as error:
    print(error.code, error.evidence)
    traceback.print_exc()
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.stdout.startswith("ledger.signer_failed {'cause': 'PinIncorrect'"), answer.stdout + answer.stderr
    assert "planted" not in answer.stdout + answer.stderr.replace(program, "")
