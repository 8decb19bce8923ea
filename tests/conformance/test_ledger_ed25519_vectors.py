"""What counts as an Ed25519 signature here, held to RFC 8032's vectors and to the published edge cases.

The twelve edge cases are those of ed25519-speccheck (github.com/novifinancial/ed25519-speccheck, cases.txt), which go with Chalkias,
Garillot, Nikolaenko: Taming the many EdDSAs (eprint.iacr.org/2020/1244). Verification itself is OpenSSL's, by way of `cryptography`:
cofactorless, without a look at the public key's order. So keys of small order are refused before anything is verified with them.
"""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guardrails.errors import LedgerError
from guardrails.ledger.curve import check_public_key
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.note import Verifier
from guardrails.ledger.signature_types import COSIGNATURE_ED25519, ED25519
from guardrails.ledger.signers import CheckedSigner

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493

# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = {
    "TEST 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    "TEST SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
}

# What it is; message, public key, signature; does OpenSSL verify it; do we trust the key at all?
SPECCHECK = [
    (
        "S = 0, A and R of small order",
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000",
        True,
        False,
    ),
    (
        "A of small order, R of mixed order",
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        True,
        False,
    ),
    (
        "A of mixed order, R of small order",
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
        True,
        True,
    ),
    (
        "A and R of mixed order, holds with and without the cofactor",
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
        True,
        True,
    ),
    (
        "A and R of mixed order, holds only with the cofactor",
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
        False,
        True,
    ),
    (
        "holds only with the cofactor and without reducing 8k before the product",
        "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
        False,
        True,
    ),
    (
        "S >= L",
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
        False,
        True,
    ),
    (
        "S far above L",
        "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
        False,
        True,
    ),
    (
        "R of small order and not canonical, reduced before hashing",
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
        False,
        True,
    ),
    (
        "R of small order and not canonical, hashed as it is",
        "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
        False,
        True,
    ),
    (
        "A of small order and not canonical, reduced before hashing",
        "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        False,
        False,
    ),
    (
        "A of small order and not canonical, hashed as it is",
        "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
        True,
        False,
    ),
]


@pytest.mark.parametrize("case", RFC_8032)
def test_the_vectors_of_rfc_8032_hold(case: str) -> None:
    seed, public_key, message, signature = (bytes.fromhex(part) for part in RFC_8032[case])
    signer = Ed25519Signer("rfc8032.example", seed)
    assert signer.verifier().public_key == public_key
    assert signer.sign(message) == signature
    assert signer.verifier().is_valid(message, signature)
    assert not signer.verifier().is_valid(message + b".", signature)
    check_public_key(public_key)


@pytest.mark.parametrize(
    ("what", "message", "key", "signature", "is_verified", "is_trusted"), SPECCHECK, ids=[c[0] for c in SPECCHECK]
)
def test_the_twelve_edge_cases_are_decided_as_stated(
    what: str, message: str, key: str, signature: str, is_verified: bool, is_trusted: bool
) -> None:
    assert _verifies(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)) == is_verified
    assert _is_trusted(bytes.fromhex(key)) == is_trusted


@pytest.mark.parametrize("index", [6, 7])
def test_a_signature_is_not_accepted_with_a_greater_s(index: int) -> None:
    _, message, key, signature, _, _ = SPECCHECK[index]
    assert int.from_bytes(bytes.fromhex(signature)[32:], "little") >= L
    assert not Verifier("edge.example", bytes.fromhex(key)).is_valid(bytes.fromhex(message), bytes.fromhex(signature))


def test_no_second_signature_is_made_by_adding_the_order() -> None:
    signer = Ed25519Signer.generate("edge.example")
    signature = signer.sign(b"text")
    s = int.from_bytes(signature[32:], "little")
    for times in range(1, 16):
        other = signature[:32] + (s + times * L).to_bytes(32, "little")
        assert not signer.verifier().is_valid(b"text", other)


def test_every_encoding_of_a_point_of_small_order_is_refused_as_a_key() -> None:
    ys = _small_order_ys()
    assert len(ys) == 5
    # RFC 8032 points have one canonical form; a reader that reduces would also take y + p, where that fits, and the other sign of x = 0.
    numbers = ys | {y + P for y in ys if y + P < 2**255}
    encodings = [(number | sign << 255).to_bytes(32, "little") for number in numbers for sign in (0, 1)]
    assert len(encodings) == 14
    for encoding in encodings:
        with pytest.raises(LedgerError) as caught:
            check_public_key(encoding)
        assert caught.value.code == "ledger.note_invalid"
        for signature_type in (ED25519, COSIGNATURE_ED25519):
            with pytest.raises(LedgerError):
                Verifier("edge.example", encoding, signature_type)


def test_a_signer_cannot_be_made_with_a_key_under_which_anybody_can_sign() -> None:
    _, _, key, signature, _, _ = SPECCHECK[0]
    with pytest.raises(LedgerError, match="small order"):
        CheckedSigner(Verifier("edge.example", bytes.fromhex(key)), lambda _: bytes.fromhex(signature), label="forger")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(LedgerError, match="32 bytes"):
        check_public_key(bytes(length))


def test_honest_keys_are_trusted_and_half_of_all_bytes_are_no_point() -> None:
    for seed in range(200):
        check_public_key(Ed25519Signer("edge.example", seed.to_bytes(32, "big")).verifier().public_key)
    trusted = sum(_is_trusted(y.to_bytes(32, "little")) for y in range(2, 402))
    assert 150 < trusted < 250


def _verifies(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_trusted(key: bytes) -> bool:
    try:
        check_public_key(key)
    except LedgerError:
        return False
    return True


def _small_order_ys() -> set[int]:
    """The y coordinates of the points T with 8T = 0, found as L times a point with a component of order 8."""
    d = -121665 * pow(121666, -1, P) % P

    def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        product = d * a[0] * b[0] * a[1] * b[1] % P
        x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, -1, P) % P
        return x, (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P) % P

    def multiply(times: int, point: tuple[int, int]) -> tuple[int, int]:
        total = (0, 1)
        while times:
            if times & 1:
                total = add(total, point)
            point, times = add(point, point), times >> 1
        return total

    for y in range(2, 100):
        square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
        if pow(square, (P - 1) // 2, P) != 1:
            continue
        root = pow(square, (P + 3) // 8, P)
        x = root if root * root % P == square else root * pow(2, (P - 1) // 4, P) % P
        torsion = multiply(L, (x, y))
        if multiply(4, torsion) != (0, 1):
            return {multiply(times, torsion)[1] for times in range(8)}
    raise AssertionError("no point of order 8 was found")
