"""Signers are loaded from URIs, keep their secrets, and hand on no signature that does not hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
import traceback
from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from guardrails.errors import GuardrailsError, LedgerError, UsageError
from guardrails.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from guardrails.ledger.keys import Ed25519Signer, create_key, write_private
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.note import Signer
from guardrails.ledger.signers import SCHEMES, CheckedSigner, create_encrypted_key, load_signer
from guardrails.ledger.signers.encrypted import encrypt_key
from guardrails.ledger.signers.passphrases import Secrets
from guardrails.ledger.signers.pkcs11_uri import Pkcs11Uri
from tests.conftest import missing

NAME = "example.com/log"
PASSPHRASE = "correct horse battery"


def _holds(signer: Signer) -> bool:
    checkpoint = Checkpoint(NAME, 5, leaf_hash(b"x"))
    return open_checkpoint(sign_checkpoint(checkpoint, signer), signer.verifier()) == checkpoint


def test_a_file_an_encrypted_file_and_a_variable_give_the_same_signer(tmp_path: Path) -> None:
    key = create_key(tmp_path / "plain.key", NAME)
    write_private(tmp_path / "sealed.key", encrypt_key(key, PASSPHRASE), mode=0o600)
    environment = {"LOG_KEY": key.secret_text() + "\n", "GUARDRAILS_LEDGER_PASSPHRASE": PASSPHRASE}
    for uri in (
        f"file:{tmp_path}/plain.key",
        f"file://{tmp_path}/plain.key",
        f"encrypted:{tmp_path}/sealed.key",
        "env:LOG_KEY",
    ):
        signer = load_signer(uri, name=NAME, environment=environment)
        assert signer.verifier() == key.verifier()
        assert _holds(signer)
        with pytest.raises(UsageError, match="not another"):
            load_signer(uri, name="another", environment=environment)


def test_the_passphrase_is_asked_for_where_no_variable_holds_it(tmp_path: Path) -> None:
    create_encrypted_key(tmp_path / "log.key", NAME, "pässwörter sind lang")
    asked: list[str] = []

    def ask(what: str) -> str:
        asked.append(what)
        return "pässwörter sind lang"

    assert _holds(load_signer(f"encrypted:{tmp_path}/log.key", ask=ask, environment={}))
    assert asked == ["passphrase of log.key"]
    with pytest.raises(LedgerError) as caught:
        load_signer(f"encrypted:{tmp_path}/log.key", environment={})
    assert caught.value.code == "ledger.key_missing"
    assert "GUARDRAILS_LEDGER_PASSPHRASE" in caught.value.hint


def test_an_encrypted_file_is_private_and_does_not_hold_the_key_in_clear(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    signer = create_encrypted_key(path, NAME, PASSPHRASE)
    seed = signer.private_key().private_bytes_raw()
    content = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert content.startswith(str(signer.verifier()).encode() + b"\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    for planted in (seed, seed.hex().encode(), b64encode(seed)[:-2], PASSPHRASE.encode()):
        assert planted not in content


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    create_encrypted_key(path, NAME, PASSPHRASE)
    path.chmod(0o640)
    with pytest.raises(LedgerError, match="open to others"):
        load_signer(f"encrypted:{path}", environment={"GUARDRAILS_LEDGER_PASSPHRASE": PASSPHRASE})


def test_openssl_opens_an_encrypted_file(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        missing("openssl is not installed")
    signer = create_encrypted_key(tmp_path / "log.key", NAME, PASSPHRASE)
    command = ["openssl", "pkey", "-in", str(tmp_path / "log.key"), "-passin", "env:P", "-pubout", "-outform", "DER"]
    answer = subprocess.run(command, capture_output=True, env=os.environ | {"P": PASSPHRASE}, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout[-32:] == signer.verifier().public_key


def test_a_key_that_openssl_encrypted_is_opened(tmp_path: Path) -> None:
    signer = Ed25519Signer.generate(NAME)
    pem = signer.private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode()))
    write_private(tmp_path / "log.key", f"{signer.verifier()}\n{pem.decode()}", mode=0o600)
    loaded = load_signer(f"encrypted:{tmp_path}/log.key", environment={"GUARDRAILS_LEDGER_PASSPHRASE": PASSPHRASE})
    assert loaded.verifier() == signer.verifier()


def test_an_encrypted_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    signer = create_encrypted_key(path, NAME, PASSPHRASE)
    text = path.read_text()
    other = Ed25519Signer.generate(NAME).verifier()
    renamed = Ed25519Signer("example.com/other", signer.private_key().private_bytes_raw()).verifier()
    ec = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode())
    )
    changed = {
        "another verifier key": text.replace(str(signer.verifier()), str(other)),
        "no verifier key": text.partition("\n")[2],
        "another kind of key": f"{signer.verifier()}\n{ec.decode()}",
        "cut short": text[:200],
        "not text": text.replace("BEGIN", "BEGIN\x00"),
    }
    environment = {"GUARDRAILS_LEDGER_PASSPHRASE": PASSPHRASE}
    for what, content in changed.items():
        path.write_text(content)
        with pytest.raises(LedgerError):
            pytest.fail(f"{what}: {load_signer(f'encrypted:{path}', environment=environment)}")
    # A renamed key is a key of another log: it is the caller's name that refuses it.
    path.write_text(text.replace(str(signer.verifier()), str(renamed)))
    with pytest.raises(UsageError, match="not example"):
        load_signer(f"encrypted:{path}", name=NAME, environment=environment)


def test_a_weak_passphrase_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="shorter than 12"):
        create_encrypted_key(tmp_path / "log.key", NAME, "too short")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "uri", ["", "log.key", "/var/log.key", "https://example.com/key", "vault:x", "FILE:/x", "gpg:x", "file2:x"]
)
def test_an_unknown_uri_is_refused_with_the_known_forms(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_signer(uri, environment={})
    assert caught.value.code == "usage.signer_unknown"
    for form in SCHEMES.values():
        assert form in caught.value.hint


@pytest.mark.parametrize("uri", ["azurekms:vault/key", "hsm:2"])
def test_a_service_without_ed25519_is_refused_before_anything_is_installed_for_it(uri: str) -> None:
    with pytest.raises(UsageError, match="cannot sign a ledger"):
        load_signer(uri, name=NAME, environment={})


@pytest.mark.parametrize(
    "uri",
    [
        "file:",
        "file://host/path",
        "hv:ledger",
        "hv:ledger/0",
        "hv:ledger/01",
        "hv:a/b/1",
        "hv:/1",
        "awskms:",
        "gcpkms:projects/p",
    ],
)
def test_a_uri_that_names_no_key_is_refused(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_signer(uri, name=NAME, environment={})
    assert caught.value.code == "usage.signer_unknown"


def test_a_missing_variable_is_refused_without_repeating_what_was_taken_for_its_name() -> None:
    key = Ed25519Signer.generate(NAME).secret_text()
    with pytest.raises(UsageError) as caught:
        load_signer(f"env:{key}", environment={})
    assert key.split("+", 4)[4] not in _everything(caught.value)


GCP_KEY = "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
EXTRAS = [
    ("pkcs11:object=log?module-path=/x.so", "pkcs11", "pkcs11"),
    ("hv:ledger/1", "securesystemslib", "vault"),
    ("hv:ledger/1", "hvac", "vault"),
    ("awskms:alias/log", "boto3", "awskms"),
    (GCP_KEY, "google.cloud", "gcpkms"),
]


@pytest.mark.parametrize(("uri", "package", "extra"), EXTRAS)
def test_a_missing_package_is_named_by_its_extra(uri: str, package: str, extra: str) -> None:
    # A process of its own, in which the package cannot be imported whether or not it is installed here.
    program = f"""
import sys
sys.modules[{package!r}] = None
from guardrails.errors import UsageError
from guardrails.ledger.signers import load_signer
try:
    load_signer({uri!r}, name="example.com/log", environment={{"GUARDRAILS_LEDGER_PIN": "1234"}})
except UsageError as error:
    assert error.code == "usage.extra_missing", error
    print(error.hint)
"""
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert answer.stdout.strip() == f"Install guardrails-sql[{extra}].", answer.stderr


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:object=k?module-path=/m&pin-value=4711",
        "pkcs11:object=k;pin-value=4711?module-path=/m",
        "pkcs11:token=t?module-path=/m",
        "pkcs11:object=k;object=l?module-path=/m",
        "pkcs11:object=k;colour=red?module-path=/m",
        "pkcs11:object=k;type=public?module-path=/m",
        "pkcs11:object=k;slot-id=+1?module-path=/m",
        "pkcs11:object=%zz?module-path=/m",
        "pkcs11:object=%ff?module-path=/m",
        "pkcs11:object=k",
        "pkcs11:",
    ],
)
def test_a_pkcs11_uri_that_could_mean_another_key_or_holds_a_pin_is_refused(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        Pkcs11Uri.parse(uri, {})
    assert caught.value.code == "usage.signer_unknown"
    assert "4711" not in _everything(caught.value)


def test_a_pkcs11_uri_is_read_as_rfc_7512_says() -> None:
    uri = Pkcs11Uri.parse("pkcs11:token=The%20Token;id=%01%ab;object=log;type=private?pin-source=file:/p&module-path=/m.so", {})
    assert (uri.token, uri.key_id, uri.label) == ({"token": "The Token"}, b"\x01\xab", "log")
    assert (uri.module_path, uri.pin_source) == ("/m.so", "/p")
    assert str(uri) == "pkcs11:token=The Token;object=log;id=01ab"
    assert Pkcs11Uri.parse("pkcs11:object=log", {"GUARDRAILS_PKCS11_MODULE": "/n.so"}).module_path == "/n.so"


# CheckedSigner, around keepers that misbehave.

KEY = Ed25519Signer(NAME, b"s" * 32)


def _checked(sign: object, timeout_s: float = 5.0) -> CheckedSigner:
    return CheckedSigner(KEY.verifier(), sign, label="keeper", timeout_s=timeout_s)  # type: ignore[arg-type]


def _raise(error: Exception) -> bytes:
    raise error


BAD_KEEPERS = {
    "another key": Ed25519Signer(NAME, b"t" * 32).sign,
    "another message": lambda message: KEY.sign(message + b"."),
    "a bit flipped": lambda message: bytes([KEY.sign(message)[0] ^ 1]) + KEY.sign(message)[1:],
    "an ECDSA signature": lambda message: b"\x30\x45" + b"\x02" * 69,
    "too short": lambda message: KEY.sign(message)[:63],
    "nothing": lambda message: b"",
    "text": lambda message: KEY.sign(message).hex(),
    "none": lambda message: None,
    "an error": lambda message: _raise(OSError("device removed")),
}


@pytest.mark.parametrize("what", BAD_KEEPERS)
def test_a_keeper_that_does_not_sign_as_it_must_is_refused_at_once(what: str) -> None:
    with pytest.raises(LedgerError) as caught:
        _checked(BAD_KEEPERS[what])
    assert caught.value.code == "ledger.signer_failed"


@pytest.mark.parametrize("what", BAD_KEEPERS)
def test_a_keeper_that_breaks_later_puts_nothing_into_the_log(what: str) -> None:
    calls = []

    def sign(message: bytes) -> object:
        calls.append(message)
        return KEY.sign(message) if len(calls) != 2 else BAD_KEEPERS[what](message)

    signer = _checked(sign)
    with pytest.raises(LedgerError) as caught:
        _holds(signer)
    assert caught.value.code == "ledger.signer_failed"
    assert _holds(signer)


def test_the_first_text_signed_is_no_checkpoint() -> None:
    seen: list[bytes] = []
    _checked(lambda message: seen.append(message) or KEY.sign(message))
    with pytest.raises(LedgerError):
        Checkpoint.parse(seen[0].decode())


def test_a_keeper_that_hangs_costs_its_time_limit_and_no_more() -> None:
    release = threading.Event()
    calls = []

    def sign(message: bytes) -> bytes:
        calls.append(message)
        if len(calls) == 2:
            release.wait(30)
        return KEY.sign(message)

    signer = _checked(sign, timeout_s=0.3)
    started = time.monotonic()
    with pytest.raises(LedgerError, match="did not answer in time"):
        signer.sign(b"a")
    with pytest.raises(LedgerError, match="still busy"):
        signer.sign(b"b")
    assert time.monotonic() - started < 5
    assert len(calls) == 2, "a second call must not enter while the first is under way"
    release.set()
    deadline = time.monotonic() + 10
    while True:
        try:
            assert signer.sign(b"c") == KEY.sign(b"c")
            return
        except LedgerError:
            assert time.monotonic() < deadline


def test_a_call_for_which_no_thread_can_be_started_does_not_block_those_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = _checked(KEY.sign, timeout_s=1.0)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(LedgerError, match="no thread can be started"):
            signer.sign(b"a")
    assert signer.sign(b"b") == KEY.sign(b"b")


def test_threads_take_turns_and_each_gets_its_own_signature() -> None:
    inside, most = [], []

    def sign(message: bytes) -> bytes:
        inside.append(message)
        most.append(len(inside))
        time.sleep(0.001)
        inside.remove(message)
        return KEY.sign(message)

    signer = _checked(sign, timeout_s=30)
    got: dict[bytes, bytes] = {}
    threads = [threading.Thread(target=lambda m=b"%d" % n: got.__setitem__(m, signer.sign(m))) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {b"%d" % n: KEY.sign(b"%d" % n) for n in range(40)}
    assert max(most) == 1


def test_secrets_are_in_no_error_and_no_repr(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    signer = create_encrypted_key(path, NAME, PASSPHRASE)
    seed = signer.private_key().private_bytes_raw()
    text = signer.secret_text()
    wrong = "Wrong-passphrase-0815"
    (tmp_path / "broken.key").write_bytes(b"\xff" + text.encode())
    (tmp_path / "halved.key").write_text(text[:-4] + "\n")
    for name in ("broken.key", "halved.key"):
        (tmp_path / name).chmod(0o600)
    shown = [repr(signer), repr(load_signer("env:K", environment={"K": text})), repr(_checked(KEY.sign))]
    shown.append(repr(Secrets({"GUARDRAILS_LEDGER_PASSPHRASE": PASSPHRASE}, lambda _: PASSPHRASE)))
    for uri, environment in [
        (f"encrypted:{path}", {"GUARDRAILS_LEDGER_PASSPHRASE": wrong}),
        (f"encrypted:{path}", {}),
        (f"file:{tmp_path}/broken.key", {}),
        (f"file:{tmp_path}/halved.key", {}),
        (f"file:{path}", {}),
        ("env:K", {"K": text + "x"}),
        ("env:K", {"K": text.replace("+", "*")}),
        (text, {}),
        (f"env:{text}", {}),
        ("env:", {}),
    ]:
        with pytest.raises(GuardrailsError) as caught:
            load_signer(uri, environment=environment)
        shown.append(_everything(caught.value))
    everything = "\n".join(shown)
    for planted in (text.split("+", 4)[4], text[-30:-4], seed.hex(), repr(seed)[2:-1], PASSPHRASE, wrong):
        assert planted not in everything


def _everything(error: BaseException) -> str:
    """The error as a person, a log and a debugger would see it, with all that it was raised from."""
    parts = []
    seen: BaseException | None = error
    while seen is not None:
        parts += ["".join(traceback.format_exception(seen)), repr(seen), repr(seen.args), repr(vars(seen))]
        if isinstance(seen, GuardrailsError):
            parts += [seen.for_model(), repr(seen.diagnostics())]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(parts)
