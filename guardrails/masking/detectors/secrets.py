"""Credentials in the formats that their issuers publish, private keys (RFC 7468), JSON Web Tokens (RFC 7519), and assignments."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator

from guardrails.masking.detectors.span import Span

__all__ = ["secrets"]

_NO_TOKEN_BEFORE = r"(?<![A-Za-z0-9_\-])"  # noqa: S105 - a pattern
_NO_TOKEN_AFTER = r"(?![A-Za-z0-9_\-])"  # noqa: S105 - a pattern


def _is_any(_: str) -> bool:
    return True


def _is_random(token: str) -> bool:
    """Tells names in kebab or snake case from generated tokens, which mix digits and letters."""
    body = token.split("-", 1)[-1]
    return any(c.isdigit() for c in body) and any(c.isalpha() for c in body)


def _is_jwt(token: str) -> bool:
    header = token.partition(".")[0]
    try:
        return base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)).lstrip().startswith(b'{"')
    except (ValueError, binascii.Error):
        return False


# A literal that must occur in the text, the pattern, and what a hit must be besides.
_FORMATS: tuple[tuple[tuple[str, ...], re.Pattern[str], Callable[[str], bool]], ...] = tuple(
    (needles, re.compile(_NO_TOKEN_BEFORE + pattern + _NO_TOKEN_AFTER, re.ASCII), check)
    for needles, pattern, check in (
        (("AKIA", "ASIA", "ABIA", "ACCA"), r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}", _is_any),
        (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{36,255}+", _is_any),
        (("github_pat_",), r"github_pat_\w{22,255}+", _is_any),
        (("glpat-",), r"glpat-[\w\-]{20,255}+", _is_any),
        (("xox", "xapp-"), r"(?:xox[abeoprs]|xapp)-[A-Za-z0-9\-]{10,255}+", _is_random),
        (("_live_", "_test_"), r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,255}+", _is_any),
        (("whsec_",), r"whsec_[A-Za-z0-9+/=]{16,255}+", _is_any),
        (("sk-",), r"sk-[\w\-]{20,255}+", _is_random),
        (("AIza",), r"AIza[\w\-]{35}", _is_any),
        (("ya29.",), r"ya29\.[\w\-]{20,511}+", _is_any),
        (("eyJ",), r"eyJ[\w\-]{5,}+\.[\w\-]{4,}+\.[\w\-]*+", _is_jwt),
        (("SG.",), r"SG\.[\w\-]{16,32}+\.[\w\-]{16,64}+", _is_any),
        (("npm_",), r"npm_[A-Za-z0-9]{36}", _is_any),
        (("pypi-",), r"pypi-[\w\-]{50,511}+", _is_any),
        (("hf_",), r"hf_[A-Za-z0-9]{30,64}+", _is_any),
        (("dop_v1_", "doo_v1_"), r"do[op]_v1_[a-f0-9]{64}", _is_any),
        (("shpat_", "shpss_", "shpca_"), r"shp(?:at|ss|ca)_[a-fA-F0-9]{32}", _is_any),
    )
)

_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_USERINFO = re.compile(r"(?<![A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]{1,20}+://[^\s:/@]{0,100}+:([^\s/@]{1,200}+)@")
_HOOK = re.compile(r"hooks\.slack\.com/services/(T\w{6,16}/B\w{6,16}/\w{16,32})", re.ASCII)
_NAMES = (
    "passw",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "access_key",
    "access-key",
    "accountkey",
)
_ASSIGNMENT = re.compile(
    r"(?:passwords?|passwd|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|accountkey|secret[_-]?key)"
    r"(?P<quote>[\"']?)[ \t]{0,3}(?P<sign>:=|=>|[:=])[ \t]{0,3}"
    r"(?:(?P<open>[\"'])(?P<quoted>[^\"'\n]{6,200})(?P=open)|[\"']?(?P<bare>[^\s\"'&,;<>(){}\[\]]{6,200}+))",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"[*x•.\-_]+|[<${%\[].*|(?:your|my)[_\-].*|example|placeholder|redacted|hidden|masked|required|optional|string|varchar|"
    r"none|null|undefined|true|false|os\.environ.*|process\.env.*|getenv.*",
    re.IGNORECASE,
)


def secrets(text: str) -> Iterator[Span]:
    """Yields credentials. In an assignment such as ``password=…`` only the value is the span, with a lower score."""
    for needles, pattern, check in _FORMATS:
        if any(needle in text for needle in needles):
            for found in pattern.finditer(text):
                if check(found[0]):
                    yield Span(found.start(), found.end(), "secret", 0.97)
    if "-----BEGIN" in text:
        yield from _private_keys(text)
    if "://" in text:
        for found in _USERINFO.finditer(text):
            yield Span(found.start(1), found.end(1), "secret", 0.9)
    if "hooks.slack" in text:
        for found in _HOOK.finditer(text):
            yield Span(found.start(1), found.end(1), "secret", 0.95)
    if "=" in text or ":" in text:
        lowered = text.lower()
        if any(name in lowered for name in _NAMES):
            yield from _assignments(text)


def _private_keys(text: str) -> Iterator[Span]:
    position = 0
    while begin := _PEM_BEGIN.search(text, position):
        end = _PEM_END.search(text, begin.end())
        position = end.end() if end else len(text)  # cut off: all that is left may be the key
        yield Span(begin.start(), position, "secret", 0.99)


def _assignments(text: str) -> Iterator[Span]:
    for found in _ASSIGNMENT.finditer(text):
        group = "quoted" if found["quoted"] is not None else "bare"
        value = found[group] if group == "quoted" else found[group].rstrip(".")
        is_word = value.isalpha() and (value.islower() or value.istitle() or value.isupper())
        # In prose "password: please ask" a word follows; in a quoted or "=" assignment it is a value.
        is_value = not is_word or group == "quoted" or found["sign"] == "="
        if is_value and not _PLACEHOLDER.fullmatch(value):
            yield Span(found.start(group), found.start(group) + len(value), "secret", 0.6)
