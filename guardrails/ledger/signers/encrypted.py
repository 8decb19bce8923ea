"""A signing key in a file that a passphrase opens.

The file is the verifier key on a line, so that the public half is read without the passphrase, above a PKCS#8 EncryptedPrivateKeyInfo
in PEM (RFC 5958, RFC 7468), encrypted with PBES2 (RFC 8018): scrypt (RFC 7914) and AES-256-CBC. `openssl pkey` opens it too. The DER is
written here because `cryptography` writes PBES2 with 2,048 rounds of PBKDF2 only, which a stolen file would not survive.
"""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from guardrails.errors import LedgerError
from guardrails.ledger.keys import Ed25519Signer, read_private, write_private
from guardrails.ledger.note import Verifier

__all__ = ["MIN_PASSPHRASE_CHARACTERS", "create_encrypted_key", "encrypt_key", "load_encrypted_key"]

MIN_PASSPHRASE_CHARACTERS = 12

# 16 MiB and 8 passes: OpenSSL refuses to read files that need more than 32 MiB.
_COST, _BLOCK_SIZE, _PARALLELISM = 2**14, 8, 8
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_AES_256_CBC = bytes.fromhex("60864801650304012a")
_LABEL = "ENCRYPTED PRIVATE KEY"


def create_encrypted_key(path: Path, name: str, passphrase: str) -> Ed25519Signer:
    """Makes a new signing key and stores it durably, encrypted, in a file of mode 0600.

    Raises:
        LedgerError: The passphrase is too short, or the file cannot be written (ledger.unavailable).
    """
    signer = Ed25519Signer.generate(name)
    write_private(path, encrypt_key(signer, passphrase), mode=0o600)
    return signer


def encrypt_key(signer: Ed25519Signer, passphrase: str) -> str:
    """Returns the file's text for a key that exists already.

    Raises:
        LedgerError: The passphrase has fewer than 12 characters (ledger.unavailable).
    """
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise LedgerError(
            "ledger.unavailable",
            f"The passphrase is shorter than {MIN_PASSPHRASE_CHARACTERS} characters.",
            hint="Choose a longer one; several random words are best.",
        )
    private_key = signer.private_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return f"{signer.verifier()}\n{_pem(_encrypted_info(private_key, passphrase.encode()))}"


def load_encrypted_key(path: Path, passphrase: str) -> Ed25519Signer:
    """Opens the signing key in a file.

    Raises:
        LedgerError: There is no such file (ledger.key_missing), others may read it (ledger.unavailable), the passphrase does not open it
            (ledger.signer_failed), or the file is malformed or its public half another key's (ledger.note_invalid).
    """
    first, _, rest = read_private(path).partition("\n")
    verifier = Verifier.parse(first)
    try:
        key = load_pem_private_key(rest.encode(), passphrase.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LedgerError(
            "ledger.signer_failed", f"The passphrase does not open {path.name}, or the file is damaged."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise LedgerError("ledger.note_invalid", f"The signing key in {path.name} is not an Ed25519 key.")
    signer = Ed25519Signer(verifier.name, key.private_bytes_raw())
    if signer.verifier() != verifier:
        raise LedgerError("ledger.note_invalid", f"The first line of {path.name} is not the verifier key of the key in it.")
    return signer


def _encrypted_info(private_key: bytes, passphrase: bytes) -> bytes:
    salt, iv = secrets.token_bytes(16), os.urandom(16)
    key = Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK_SIZE, p=_PARALLELISM).derive(passphrase)
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(private_key) + padder.finalize()) + encryptor.finalize()
    costs = b"".join(_integer(number) for number in (_COST, _BLOCK_SIZE, _PARALLELISM))
    derivation = _sequence(_der(0x06, _SCRYPT), _sequence(_der(0x04, salt), costs))
    encryption = _sequence(_der(0x06, _AES_256_CBC), _der(0x04, iv))
    return _sequence(_sequence(_der(0x06, _PBES2), _sequence(derivation, encryption)), _der(0x04, encrypted))


def _pem(der: bytes) -> str:
    text = b64encode(der).decode("ascii")
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {_LABEL}-----\n{lines}\n-----END {_LABEL}-----\n"


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, b"".join(parts))


def _integer(number: int) -> bytes:
    return _der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 0x80 else bytes([0x81, size])
    return bytes([tag]) + length + content
