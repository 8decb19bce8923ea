"""Generates texts with personal data and credentials in known places, and texts with numbers that only look like it."""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Sample", "luhn", "samples"]

_WORDS = [
    "the", "customer", "asked", "about", "a", "refund", "for", "two", "blue", "chairs", "and", "wants", "to", "hear", "from", "us",
    "before", "Friday", "because", "shipping", "was", "late", "again", "please", "check", "with", "warehouse", "team", "Köln", "naïve",
    "café", "résumé", "if", "stock", "is", "there", "then", "write", "back", "kindly", "thanks", "regards",
]  # fmt: skip
_NAMES = ["ana", "bo.lind", "cleo_m", "d.o'hara", "eve+news", "farid99", "grå", "h-j.k"]
_DOMAINS = ["example.com", "mail.example.org", "post.example.co.uk", "exämple.de", "shop-24.example.io", "sub.a.example.museum"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A text with the (start, end, kind) of everything in it that should be found."""

    text: str
    spans: frozenset[tuple[int, int, str]]


def samples(seed: int, count: int) -> Iterator[Sample]:
    """Yields texts: a third with nothing to be found in them, the others with one to three findings."""
    source = random.Random(seed)
    kinds = list(_MAKERS)
    for number in range(count):
        text, spans = _words(source), set()
        for _ in range(source.randint(1, 3)):
            if number % 3 == 0:
                text += " " + source.choice(_HARMLESS)(source)
            else:
                kind = source.choice(kinds)
                before, value = _MAKERS[kind](source)
                text += f" {before}"
                spans.add((len(text), len(text) + len(value), kind))
                text += value + _AFTER.get(before, "")
            text += source.choice([". ", ", ", " ", "; ", "\n"]) + _words(source)
        yield Sample(text, frozenset(spans))


def luhn(digits: str) -> str:
    """Returns the digits with their check digit."""
    total = sum(int(d) if i % 2 else sum(divmod(2 * int(d), 10)) for i, d in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def _words(source: random.Random) -> str:
    return " ".join(source.choices(_WORDS, k=source.randint(2, 9)))


def _digits(source: random.Random, count: int) -> str:
    return "".join(source.choices(string.digits, k=count))


def _token(source: random.Random, count: int) -> str:
    return "".join([*source.choices(string.ascii_letters, k=count - 2), "7", "Q"])


def _fill(source: random.Random, pattern: str) -> str:
    """Fills a pattern: # any digit, N a digit from 2 to 8, which also keeps area codes and exchanges apart from services."""
    return "".join({"#": source.choice(string.digits), "N": source.choice("2345678")}.get(c, c) for c in pattern)


def _email(source: random.Random) -> tuple[str, str]:
    value = f"{source.choice(_NAMES)}@{source.choice(_DOMAINS)}"
    return source.choice(["", "<", "mailto:", "to: ", "'"]), source.choice([value, value.upper()])


_PHONES = [
    "+1 N1N-N2N-####", "(N0N) N5N-####", "N1N-N0N-####", "N1N.N5N.####", "1-N0N-N6N-####", "(N1N) N5N-#### x###", "+1N0NN2N####",
    "+44 20 7### ####", "+44 (0)1632 960###", "020 7### ####", "07700 900###", "(020) 7### ####", "+49 30 1234###", "030 1234####",
    "0171-#######", "+49 (0)171 #######", "0049 89 ######", "030/#######", "+33 1 ## ## ## ##", "06 ## ## ## ##", "01.##.##.##.##",
    "+34 612 ### ###", "+39 06 #### ####", "+31 6 ########", "020-#######", "+41 44 ### ## ##", "044 ### ## ##", "+46 70 ### ## ##",
    "+48 601 ### ###", "+91 98### #####", "+81 3-####-####", "+86 138 #### ####", "+55 11 9####-####", "+61 2 #### ####",
]  # fmt: skip


def _phone(source: random.Random) -> tuple[str, str]:
    if source.random() < 0.2:
        return source.choice(["call ", "Tel.: ", "phone ", "mobile: "]), _fill(
            source, source.choice(["NNN#######", "0N########", "NNN ### ###"])
        )
    return source.choice(["", "call ", "reach me: ", "contact "]), _fill(source, source.choice(_PHONES))


def _card(source: random.Random) -> tuple[str, str]:
    prefix, size, groups = source.choice(
        [("4", 16, (4, 4, 4, 4)), ("53", 16, (4, 4, 4, 4)), ("2300", 16, (4, 4, 4, 4)), ("37", 15, (4, 6, 5)), ("6011", 16, (4, 4, 4, 4)),
         ("36", 14, (4, 6, 4)), ("3530", 16, (4, 4, 4, 4)), ("62", 19, (4, 4, 4, 4, 3))]
    )  # fmt: skip
    number = luhn(prefix + _digits(source, size - len(prefix) - 1))
    separator, place, parts = source.choice(["", "", " ", "-"]), 0, []
    for group in groups:
        parts.append(number[place : place + group])
        place += group
    return source.choice(["", "card ", "paid with "]), separator.join(parts)


_IBANS: list[tuple[str, Callable[[random.Random], str]]] = [
    ("DE", lambda s: _digits(s, 18)), ("FR", lambda s: _digits(s, 23)), ("NL", lambda s: "ABNA" + _digits(s, 10)),
    ("GB", lambda s: "NWBK" + _digits(s, 14)), ("ES", lambda s: _digits(s, 20)),
    ("MT", lambda s: "MALT" + _digits(s, 5) + "0012345MTLCAST001S"),
]  # fmt: skip


def _iban(source: random.Random) -> tuple[str, str]:
    country, make = source.choice(_IBANS)
    body = make(source)
    check = 98 - int("".join(str(int(c, 36)) for c in f"{body}{country}00")) % 97
    compact = f"{country}{check:02}{body}"
    spaced = " ".join(compact[i : i + 4] for i in range(0, len(compact), 4))
    return source.choice(["", "IBAN "]), source.choice([compact, spaced])


def _ssn(source: random.Random) -> tuple[str, str]:
    area, group, serial = source.randint(1, 665), source.randint(1, 99), source.randint(1, 9999)
    if source.random() < 0.3:
        return "SSN ", f"{area:03}{group:02}{serial:04}"
    return source.choice(["", "ssn: "]), f"{area:03}-{group:02}-{serial:04}"


def _secret(source: random.Random) -> tuple[str, str]:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    before, value = source.choice(
        [
            ("", "AKIA" + "".join(source.choices(string.ascii_uppercase + string.digits, k=16))),
            ("key ", "ghp_" + _token(source, 36)),
            ("", "github_pat_" + _token(source, 60)),
            ("", f"xoxb-{_digits(source, 12)}-{_token(source, 24)}"),
            ("", "sk_live_" + _token(source, 24)),
            ("", "sk-proj-" + _token(source, 48)),
            ("", "sk-ant-api03-" + _token(source, 40)),
            ("", "AIza" + _token(source, 35)),
            ("Bearer ", f"{header}.{_token(source, 30)}.{_token(source, 43)}"),
            ("password=", _token(source, 12)),
            ('"api_key": "', _token(source, 20)),
            ("postgres://app:", _token(source, 10)),
            ("", f"-----BEGIN PRIVATE KEY-----\n{_token(source, 64)}\n-----END PRIVATE KEY-----"),
        ]
    )
    return before, value


_MAKERS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "email": _email, "phone": _phone, "card": _card, "iban": _iban, "ssn": _ssn, "secret": _secret,
}  # fmt: skip
# What has to follow a value for its form to be complete.
_AFTER = {'"api_key": "': '"', "postgres://app:": "@db.example.com/shop", "<": ">", "'": "'"}
_HARMLESS: list[Callable[[random.Random], str]] = [
    lambda s: f"on {s.randint(1990, 2030)}-{s.randint(1, 12):02}-{s.randint(1, 28):02}",
    lambda s: (
        f"{s.randint(1, 28):02}.{s.randint(1, 12):02}.{s.randint(1990, 2030)} {s.randint(0, 23):02}:{s.randint(0, 59):02}"
    ),
    lambda s: f"{s.randint(1, 12):02}/{s.randint(1, 28):02}/{s.randint(1990, 2030)}",
    lambda s: f"2024-05-{s.randint(10, 28)}T{s.randint(10, 23)}:{s.randint(10, 59)}:{s.randint(10, 59)}.{_digits(s, 6)}+0200",
    lambda s: "at " + ".".join(str(s.randint(0, 255)) for _ in range(4)) + f":{s.randint(1024, 65535)}",
    lambda s: str(uuid.UUID(int=s.getrandbits(128))),
    lambda s: f"sha256 {s.getrandbits(256):064x}",
    lambda s: f"commit {s.getrandbits(160):040x}",
    lambda s: f"order {_digits(s, 10)}",
    lambda s: f"invoice no. {_digits(s, 4)}-{_digits(s, 6)}",
    lambda s: f"Order {s.randint(200, 999)}-{s.randint(200, 999)}-{_digits(s, 4)}",
    lambda s: f"ORD-{_digits(s, 3)}-{_digits(s, 3)}-{_digits(s, 4)}",
    lambda s: f"{s.uniform(-1000, 1000):.12f}",
    lambda s: f"{s.randint(1000, 10**9):,}.{_digits(s, 2)} EUR",
    lambda s: f"{s.uniform(-90, 90):.6f}, {s.uniform(-180, 180):.6f}",
    lambda s: f"version {s.randint(0, 20)}.{s.randint(0, 20)}.{s.randint(0, 2000)}",
    lambda s: f"at {1_600_000_000 + s.getrandbits(27)} and {1_600_000_000_000 + s.getrandbits(37)}",
    lambda s: f"ISBN 978-{s.randint(0, 9)}-{_digits(s, 2)}-{_digits(s, 6)}-{s.randint(0, 9)}",
    lambda s: f"weighs {_digits(s, 5)} g, {s.randint(1, 99)} x {s.randint(1, 99)} x {s.randint(1, 99)} cm",
    lambda s: f"tracking 1Z{_token(s, 10).upper()}{_digits(s, 6)}",
    lambda s: f"@{s.choice(_WORDS)} see logo@2x.png or left-pad@1.{s.randint(0, 9)}.{s.randint(0, 9)}",
    lambda s: "password: please ask, token: string, secret=<redacted>",
    lambda s: f"id {s.randint(10**8, 10**9)}, zip {_digits(s, 5)}-{_digits(s, 4)}",
    lambda s: f"tok_{s.getrandbits(80):020x} ***@example.com ***{_digits(s, 4)}",
    lambda s: "sk-some-long-name-of-a-css-class eyJust.another.word AKIA",
]
